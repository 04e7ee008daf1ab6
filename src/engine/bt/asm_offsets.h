/* asm_offsets.h - struct vcpu as enter.S sees it. bt.c checks every line against the struct: when a
 * field moves, the build fails there with the row to change. */
#ifndef ENGINE_BT_ASM_OFFSETS_H
#define ENGINE_BT_ASM_OFFSETS_H
#define V_GPR 0
#define V_RIP 128
#define V_RFLAGS 136
#define V_TABLE 176
#define V_HOST_RSP 184
#define V_EXIT_ARG 192
#define V_EXIT_SITE 200
#define V_SAVE 208
#define V_VEC_LOAD 240
#define V_VEC_SAVE 248
#define V_RSP 272
#define V_STACK_GUEST 288
#define V_MXCSR 1224
#define V_VEC 1728
#define V_K 3776
/* enum bt_exit */
#define EXIT_STEP 0
#define EXIT_LINK 1
#define EXIT_LOOKUP 2
#define EXIT_POLL 3
#define SITE_NONE 0x80000000 /* SITE_SLOT */
#endif
