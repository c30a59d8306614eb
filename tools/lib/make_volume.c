// Writes a volume as the Go original would: DIR/VOLUME.dat, .idx (17-byte rows) and .vif with COUNT
// needles of 100 bytes. Needle ids start at FIRST; cookie and bytes follow from the id, see `words`
// (SplitMix64).
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DATA = 100, NAME = 1, S = 4 + DATA + 1 + 1 + NAME + 1 + 5, BODY = 16 + S + 4 + 8 };
enum { PAD = 8 - BODY % 8, RECORD = BODY + PAD };

static uint32_t table[256];

static void make_table(void) {
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t value = n;
        for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ 0x82f63b78u : value >> 1;
        table[n] = value;
    }
}

static uint32_t checksum(const uint8_t *data, size_t count) {
    uint32_t value = ~0u;
    for (size_t n = 0; n < count; n++) value = value >> 8 ^ table[(value ^ data[n]) & 255];
    return ~value;
}

static uint64_t words(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint8_t *put(uint8_t *at, uint64_t value, int bytes) {
    for (int n = bytes - 1; n >= 0; n--) *at++ = value >> 8 * n;
    return at;
}

static FILE *create(const char *directory, const char *volume, const char *suffix) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s%s", directory, volume, suffix);
    FILE *file = fopen(path, "wb");
    if (!file) { perror(path); exit(1); }
    setvbuf(file, NULL, _IOFBF, 1 << 20);
    return file;
}

int main(int argc, char **argv) {
    if (argc != 5) { fprintf(stderr, "usage: make_volume DIR VOLUME FIRST COUNT\n"); return 2; }
    uint64_t first = strtoull(argv[3], NULL, 10), count = strtoull(argv[4], NULL, 10), offset = 8;
    make_table();
    FILE *dat = create(argv[1], argv[2], ".dat"), *idx = create(argv[1], argv[2], ".idx");
    FILE *vif = create(argv[1], argv[2], ".vif");
    fputs("{\"version\":3}", vif);
    fwrite("\3\0\0\0\0\0\0\0", 1, 8, dat);
    for (uint64_t id = first; id < first + count; id++, offset += RECORD) {
        uint8_t record[RECORD] = {0}, row[17], *at = record;
        uint64_t state = id;
        at = put(put(put(at, words(&state) >> 32, 4), id, 8), S, 4);
        uint8_t *data = at = put(at, DATA, 4);
        for (int n = 0; n < DATA / 4; n++) at = put(at, words(&state) >> 32, 4);
        at = put(put(at, 0x0e, 1), NAME, 1);
        at = put(put(put(at, 'n', 1), 0, 1), 1750000000, 5);
        at = put(put(at, checksum(data, DATA), 4), 1750000000000000000ull + id, 8);
        fwrite(record, 1, RECORD, dat);
        at = put(put(row, id, 8), offset / 8 & 0xffffffffu, 4);
        put(put(at, offset / 8 >> 32, 1), S, 4);
        fwrite(row, 1, 17, idx);
    }
    if (fclose(dat) || fclose(idx) || fclose(vif)) { perror("writing"); return 1; }
    return 0;
}
