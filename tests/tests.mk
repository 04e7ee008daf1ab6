# tests.mk - helpers of the test scripts; included by the root Makefile.
TEST_HELPERS := $(B)/tests/expect $(B)/tests/lib/json_is_valid $(B)/tests/lib/http_raw
$(TEST_HELPERS): $(B)/tests/%: tests/%.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< $(LIBS)

test-bins: $(TEST_HELPERS)
