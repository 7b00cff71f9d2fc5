# make live   set everything up and play the demo song; ARGS="-i … -o …" goes to python -m rt.live
# make test   set everything up and run every check and test
# make check  ruff and pyright only
# make bench  the latency figures of the README

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# onnxruntime and onnxruntime-gpu overwrite each other: exactly one, by what the machine has
RUNTIME := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
STAMP := $(VENV)/.stamp

.PHONY: live test check bench portaudio jack ffmpeg flite lmms clean
.DELETE_ON_ERROR:

live: $(STAMP)-$(RUNTIME) portaudio
	@$(BIN)/python -m rt.live $(or $(ARGS),-i demo)

test: $(STAMP)-dev portaudio jack ffmpeg flite lmms check
	$(BIN)/python -m pytest $(ARGS)

check: $(STAMP)-dev
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: $(STAMP)-dev portaudio jack
	$(BIN)/python -m bench.latency --tier live
	$(BIN)/python -m bench.latency --tier ultra
	$(BIN)/python -m bench.loopback

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

$(STAMP)-$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(RUNTIME)]'
	@touch $@

# torch first: without its pin a later package would pull gigabytes of CUDA. tinysoundfont without
# its dependencies: it wants PyAudio, which only its player needs and which needs a compiler; and
# hs-tasnet without: its torchaudio and torchcodec do not load beside a CPU build of torch.
$(STAMP)-dev: pyproject.toml constraints.txt | $(BIN)/python $(STAMP)-$(RUNTIME)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(RUNTIME),train,cluster,peers,dev]' pyworld setuptools
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps tinysoundfont hs-tasnet
	@touch $@

# PortAudio and JACK are system libraries on Linux (on macOS and Windows PortAudio comes with
# sounddevice); the tests also read what only ffmpeg reads, let flite speak and LMMS play.
# $(call need,TEST,PACKAGES) installs as root with apt, else prints the command; nothing stops
# without them, the program and the tests say what they miss.
define need
@{ $(1); } >/dev/null 2>&1 || { \
  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends $(2) >/dev/null; } \
      || echo "could not be installed: $(2)"; \
  elif command -v apt-get >/dev/null; then echo "missing; type: sudo apt-get install $(2)"; \
  elif command -v dnf >/dev/null; then echo "missing; type: sudo dnf install $(3)"; \
  elif command -v pacman >/dev/null; then echo "missing; type: sudo pacman -S $(4)"; \
  else echo "missing: $(2)"; fi; }
endef

portaudio: | $(BIN)/python
	$(call need,$(BIN)/python -c 'import sounddevice',libportaudio2,portaudio,portaudio)

jack:
	$(call need,command -v jackd && command -v jack_lsp,jackd2,jack-audio-connection-kit,jack2 jack-example-tools)

ffmpeg:
	$(call need,command -v ffmpeg && command -v ffprobe,ffmpeg,ffmpeg-free,ffmpeg)

flite:
	$(call need,command -v flite,flite,flite,flite)

lmms:
	$(call need,command -v lmms,lmms,lmms,lmms)

clean:
	rm -rf $(VENV) build *.egg-info
