/* vnc_probe - a VNC viewer for tests.
 *
 *   vnc_probe [-p PASSWORD] [-k TEXT] [-w PICTURE.png] [-s PICTURE.png] [-d DIFFERENCE]
 *             [-t SECONDS] ADDRESS
 *
 * Types TEXT (ASCII; a newline is Return); writes what the screen shows then; waits until it shows
 * PICTURE (-s; text screens blink: it may take a while), colours differing by at most DIFFERENCE
 * (0). Exit status 0; 1 when it does not come within SECONDS (10); 2 bad usage; 3 no connection. */
#include <png.h>
#include <rfb/rfbclient.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct probe {
    const char *address, *password, *keys, *want, *out;
    int seconds, difference;
    png_image img;
    unsigned char *rgb;
};

static rfbBool on_size(rfbClient *c)
{
    free(c->frameBuffer);
    c->frameBuffer = calloc((size_t)c->width * (size_t)c->height, 4);
    return c->frameBuffer != NULL;
}
static char *on_password(rfbClient *c)
{
    const struct probe *p = rfbClientGetClientData(c, NULL);
    return strdup(p->password ? p->password : "");
}

static bool load(struct probe *p)
{
    p->img = (png_image){.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_file(&p->img, p->want)) return false;
    p->img.format = PNG_FORMAT_RGB;
    p->rgb = malloc(PNG_IMAGE_SIZE(p->img));
    return p->rgb && png_image_finish_read(&p->img, NULL, p->rgb, 0, NULL);
}

static bool save(const struct probe *p, const rfbClient *c)
{
    size_t pixels = (size_t)c->width * (size_t)c->height;
    png_image img = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)c->width,
                     .height = (png_uint_32)c->height,
                     .format = PNG_FORMAT_RGB};
    unsigned char *rgb = malloc(pixels * 3);
    if (!rgb) return false;
    for (size_t i = 0; i < pixels * 3; i++) rgb[i] = c->frameBuffer[i / 3 * 4 + 2 - i % 3];
    bool done = png_image_write_to_file(&img, p->out, 0, rgb, 0, NULL);
    free(rgb);
    return done;
}

static bool same(const struct probe *p, const rfbClient *c)
{
    const unsigned char *px = c->frameBuffer;
    if ((int)p->img.width != c->width || (int)p->img.height != c->height) return false;
    for (size_t i = 0; i < (size_t)c->width * (size_t)c->height; i++)
        for (size_t n = 0; n < 3; n++)
            if (abs(px[4 * i + 2 - n] - p->rgb[3 * i + n]) > p->difference) return false;
    return true;
}

static void type(rfbClient *c, const char *keys)
{
    for (const char *at = keys; at && *at; at++) {
        uint32_t sym = *at == '\n' ? 0xFF0D : (unsigned char)*at;
        SendKeyEvent(c, sym, TRUE);
        SendKeyEvent(c, sym, FALSE);
        usleep(30000);
    }
}

static rfbClient *join(struct probe *p)
{
    rfbClient *c = rfbGetClient(8, 3, 4);
    const char *colon = strrchr(p->address, ':');
    if (!c) return NULL;
    rfbEnableClientLogging = FALSE;
    c->MallocFrameBuffer = on_size;
    c->GetPassword = on_password;
    c->canHandleNewFBSize = TRUE;
    c->format.redShift = 16;
    c->format.greenShift = 8;
    c->format.blueShift = 0;
    rfbClientSetClientData(c, NULL, p);
    free(c->serverHost);
    c->serverHost = strdup(p->address);
    if (p->address[0] != '/' && colon) {
        c->serverHost[colon - p->address] = 0;
        c->serverPort = atoi(colon + 1);
    }
    return rfbInitClient(c, NULL, NULL) ? c : NULL;
}

/* Take what comes until the picture is the one wanted; without one, for a second. */
static bool watch(struct probe *p, rfbClient *c)
{
    time_t end = time(NULL) + (p->want ? p->seconds : 2);
    while (time(NULL) < end) {
        int n = WaitForMessage(c, 100000);
        if (n < 0 || (n > 0 && !HandleRFBServerMessage(c))) return false;
        if (p->want && same(p, c)) return true;
    }
    return !p->want;
}

int main(int argc, char **argv)
{
    struct probe p = {.seconds = 10};
    int option;
    while ((option = getopt(argc, argv, "p:k:w:s:d:t:")) != -1) {
        switch (option) {
        case 'p': p.password = optarg; break;
        case 'k': p.keys = optarg; break;
        case 'w': p.out = optarg; break;
        case 's': p.want = optarg; break;
        case 'd': p.difference = atoi(optarg); break;
        case 't': p.seconds = atoi(optarg); break;
        default: return 2;
        }
    }
    if (optind + 1 != argc) return 2;
    p.address = argv[optind];
    if (p.want && !load(&p)) return 2;
    rfbClient *c = join(&p);
    if (!c) return 3;
    type(c, p.keys);
    bool good = watch(&p, c);
    if (p.out) good = save(&p, c) && good;
    printf("%dx%d\n", c->width, c->height);
    return good ? 0 : 1;
}
