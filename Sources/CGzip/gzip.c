#include "CGzip.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

struct weed_gzip {
    // zlib keeps a pointer to it, so it must not move.
    z_stream stream;
    int unpacks;
};

// The largest window, and the header of gzip in place of zlib's own.
enum { WINDOW = 15 + 16, MEMORY = 8 };

weed_gzip *weed_gzip_make(int unpacks) {
    weed_gzip *gzip = calloc(1, sizeof *gzip);
    if (!gzip) return NULL;
    gzip->unpacks = unpacks;
    int code = unpacks ? inflateInit2(&gzip->stream, WINDOW)
                       : deflateInit2(&gzip->stream, Z_BEST_SPEED, Z_DEFLATED, WINDOW, MEMORY, Z_DEFAULT_STRATEGY);
    if (code == Z_OK) return gzip;
    free(gzip);
    return NULL;
}

void weed_gzip_free(weed_gzip *gzip) {
    if (gzip->unpacks) {
        inflateEnd(&gzip->stream);
    } else {
        deflateEnd(&gzip->stream);
    }
    free(gzip);
}

int weed_gzip_reset(weed_gzip *gzip) {
    return gzip->unpacks ? inflateReset(&gzip->stream) : deflateReset(&gzip->stream);
}

int weed_gzip_step(weed_gzip *gzip, const void *input, size_t *available, void *output, size_t *room) {
    if (*available > UINT_MAX || *room > UINT_MAX) return Z_STREAM_ERROR;
    gzip->stream.next_in = (Bytef *)input;
    gzip->stream.avail_in = (uInt)*available;
    gzip->stream.next_out = output;
    gzip->stream.avail_out = (uInt)*room;
    int code = gzip->unpacks ? inflate(&gzip->stream, Z_NO_FLUSH) : deflate(&gzip->stream, Z_FINISH);
    *available = gzip->stream.avail_in;
    *room = gzip->stream.avail_out;
    return code;
}
