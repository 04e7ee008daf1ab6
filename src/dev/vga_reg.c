/* vga_reg - the VGA's registers behind ports 3B0-3DF: one table of write masks per group.
 * Misc output bit 0 chooses where CRTC, feature control and input status 1 are: 3Dx or 3Bx; the
 * other place answers nothing.  Spec: IBM PS/2 HITR, video subsystem. */
#include "dev/vga_internal.h"

enum {
    P_ATTR = 0x3C0,
    P_ATTR_READ = 0x3C1,
    P_MISC = 0x3C2, /* read: input status 0 */
    P_SEQ = 0x3C4,
    P_SEQ_DATA = 0x3C5,
    P_DAC_MASK = 0x3C6,
    P_DAC_READ = 0x3C7, /* read: DAC state */
    P_DAC_WRITE = 0x3C8,
    P_DAC_DATA = 0x3C9,
    P_FEATURE_READ = 0x3CA,
    P_MISC_READ = 0x3CC,
    P_GC = 0x3CE,
    P_GC_DATA = 0x3CF,
    P_CRTC = 0x3D4,
    P_CRTC_DATA = 0x3D5,
    P_STATUS1 = 0x3DA, /* write: feature control */
    MONO_DISTANCE = 0x20,
    FLOATING = 0xFF,
};
enum { STATUS1_BLANK = 1, STATUS1_RETRACE = 8 };
enum { CR_PROTECT = 0x80, CR_PROTECTED = 7, CR_OVERFLOW_COMPARE = 0x10 };
enum { DAC_STATE_READ = 3 };

static const u8 seq_mask[SR_COUNT] = {0x03, 0x3D, 0x0F, 0x3F, 0x0E};
static const u8 gc_mask[GR_COUNT] = {0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF};
static const u8 attr_mask[AR_COUNT] = {
    0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F,
    0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0xEF, 0xFF, 0x3F, 0x0F, 0x0F,
};

/* Store @val; whether the picture may look different now is whether anything changed. */
static void store(struct vga *v, u8 *reg, u8 val)
{
    if (*reg != val) v->redraw = true;
    *reg = val;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static void crtc_write(struct vga *v, u8 val)
{
    u32 i = v->crtc_index;
    if (i >= CR_COUNT) return;
    if (i <= CR_PROTECTED && (v->crtc[CR_VSYNC_END] & CR_PROTECT)) {
        if (i != CR_OVERFLOW) return;
        val = (u8)((v->crtc[i] & ~CR_OVERFLOW_COMPARE) | (val & CR_OVERFLOW_COMPARE));
    }
    store(v, &v->crtc[i], val);
}

static void attr_write(struct vga *v, u8 val)
{
    u32 i = v->attr_index & 0x1F;
    if (!v->attr_data) store(v, &v->attr_index, val & 0x3F);
    else if (i < AR_COUNT) store(v, &v->attr[i], val & attr_mask[i]);
    v->attr_data = !v->attr_data;
}

static u8 attr_read(const struct vga *v)
{
    u32 i = v->attr_index & 0x1F;
    return i < AR_COUNT ? v->attr[i] : 0;
}

/* A colour takes effect when its third component has been written. */
static void dac_write(struct vga *v, u8 val)
{
    v->dac_new[v->dac_sub % 3] = v->vbe[VBE_ENABLE] & VBE_DAC8 ? val : val & 0x3F;
    v->dac_sub = (u8)((v->dac_sub + 1) % 3);
    if (v->dac_sub) return;
    for (u32 i = 0; i < 3; i++) store(v, &v->dac[v->dac_write * 3 + i], v->dac_new[i]);
    v->dac_write++;
}

static u8 dac_read(struct vga *v)
{
    u8 val = v->dac[v->dac_read * 3 + v->dac_sub % 3];
    v->dac_sub = (u8)((v->dac_sub + 1) % 3);
    if (v->dac_sub == 0) v->dac_read++;
    return val;
}

static u8 status1(struct vga *v)
{
    struct vga_beam beam = vga_beam_get(v);
    v->attr_data = false;
    return (u8)((beam.blank ? STATUS1_BLANK : 0) | (beam.retrace ? STATUS1_RETRACE : 0));
}

/* ---- ports ----------------------------------------------------------------------------------- */

/* The port as if colour were chosen, or 0 when this place is not. */
static u32 resolve(const struct vga *v, u32 port)
{
    bool color = v->misc & MISC_COLOR;
    if (port >= P_ATTR && port < P_ATTR + 0x10) return port;
    if (port < P_ATTR) return color ? 0 : port + MONO_DISTANCE;
    return color ? port : 0;
}

u8 vga_reg_read(struct vga *v, u32 port)
{
    switch (resolve(v, port)) {
    case P_ATTR: return v->attr_index;
    case P_ATTR_READ: return attr_read(v);
    case P_MISC: return 0; /* no interrupt pending; no monitor sense */
    case P_SEQ: return v->seq_index;
    case P_SEQ_DATA: return v->seq_index < SR_COUNT ? v->seq[v->seq_index] : 0;
    case P_DAC_MASK: return v->dac_mask;
    case P_DAC_READ: return v->dac_reading ? DAC_STATE_READ : 0;
    case P_DAC_WRITE: return v->dac_write;
    case P_DAC_DATA: return dac_read(v);
    case P_FEATURE_READ: return v->feature;
    case P_MISC_READ: return v->misc;
    case P_GC: return v->gc_index;
    case P_GC_DATA: return v->gc_index < GR_COUNT ? v->gc[v->gc_index] : 0;
    case P_CRTC: return v->crtc_index;
    case P_CRTC_DATA: return v->crtc_index < CR_COUNT ? v->crtc[v->crtc_index] : 0;
    case P_STATUS1: return status1(v);
    default: return FLOATING;
    }
}

static void dac_index(struct vga *v, u8 val, bool reading)
{
    *(reading ? &v->dac_read : &v->dac_write) = val;
    v->dac_reading = reading;
    v->dac_sub = 0;
}

void vga_reg_write(struct vga *v, u32 port, u8 val)
{
    switch (resolve(v, port)) {
    case P_ATTR: attr_write(v, val); break;
    case P_MISC: store(v, &v->misc, val & 0xEF); break;
    case P_SEQ: v->seq_index = val & 7; break;
    case P_SEQ_DATA:
        if (v->seq_index < SR_COUNT) store(v, &v->seq[v->seq_index], val & seq_mask[v->seq_index]);
        break;
    case P_DAC_MASK: store(v, &v->dac_mask, val); break;
    case P_DAC_READ: dac_index(v, val, true); break;
    case P_DAC_WRITE: dac_index(v, val, false); break;
    case P_DAC_DATA: dac_write(v, val); break;
    case P_GC: v->gc_index = val & 0xF; break;
    case P_GC_DATA:
        if (v->gc_index < GR_COUNT) store(v, &v->gc[v->gc_index], val & gc_mask[v->gc_index]);
        break;
    case P_CRTC: v->crtc_index = val & 0x3F; break;
    case P_CRTC_DATA: crtc_write(v, val); break;
    case P_STATUS1: v->feature = val & 3; break;
    default: break;
    }
}
