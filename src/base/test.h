/* base/test.h - what every *_test.c includes: cmocka with the headers it needs before it. */
#ifndef BASE_TEST_H
#define BASE_TEST_H
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#endif
