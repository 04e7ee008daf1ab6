# tests.mk - helpers of the test scripts; included by the root Makefile.
TEST_HELPERS := $(B)/tests/expect $(B)/tests/lib/json_is_valid $(B)/tests/lib/http_raw $(B)/tests/lib/vnc_probe
$(TEST_HELPERS): $(B)/tests/%: tests/%.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< $(LIBS)

$(B)/tests/lib/vnc_probe: LIBS += -lvncclient

test-bins: $(TEST_HELPERS)
