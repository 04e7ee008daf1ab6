# tests.mk - helpers of the test scripts; included by the root Makefile.
$(B)/tests/%: tests/%.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) -o $@ $<

test-bins: $(B)/tests/expect
