# `make demo` and `make test` are enough by themselves on a fresh machine; `make verify` never writes to the sources.
.PHONY: demo test verify bench lint fix build clean

demo: build
	@.build/release/suanpan demo

test:
	@scripts/test.sh

verify: lint test

# `make bench ARGUMENTS="--case lone --json lone.json"` for some of it.
bench:
	@scripts/bench.sh $(ARGUMENTS)

lint:
	@scripts/lint.sh

fix:
	@scripts/fix.sh

build:
	@scripts/build.sh

clean:
	@scripts/clean.sh
