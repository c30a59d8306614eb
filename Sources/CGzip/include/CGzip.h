// Gzip through zlib, with zlib's own types kept out of sight: other packages bring modules of them too.
#ifndef WEED_CGZIP_H
#define WEED_CGZIP_H

#include <stddef.h>

typedef struct weed_gzip weed_gzip;

enum {
    WEED_GZIP_OK = 0,
    // The end of a member (unpacking), or of all output (packing).
    WEED_GZIP_END = 1,
    // No progress was possible with this input and this room.
    WEED_GZIP_STALLED = -5,
};

// A stream that packs (`unpacks` 0, fastest level) or unpacks; NULL without memory.
weed_gzip *weed_gzip_make(int unpacks);
void weed_gzip_free(weed_gzip *gzip);
// Begins anew; 0 or zlib's code.
int weed_gzip_reset(weed_gzip *gzip);
// Takes from `input` and writes to `output`; `available` and `room` become what is left of each. Packing ends the
// stream with this input. Returns one of the codes above, or another negative code of zlib's for broken data.
int weed_gzip_step(weed_gzip *gzip, const void *input, size_t *available, void *output, size_t *room);

#endif
