#include "CPosix.h"

#include <string.h>

// Table-driven, eight bytes a step (the "slicing by 8" of Kounavis and Berry, 2005), for machines without
// the instruction. The tables are made on first use; making them twice at once writes the same values.
static uint32_t table[8][256];
static volatile int table_ready;

static void make_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = (c & 1) ? (c >> 1) ^ 0x82f63b78u : c >> 1;
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int t = 1; t < 8; t++) table[t][i] = (table[t - 1][i] >> 8) ^ table[0][table[t - 1][i] & 255];
    }
    __sync_synchronize();
    table_ready = 1;
}

static uint32_t software(uint32_t crc, const unsigned char *p, size_t n) {
    if (!table_ready) make_table();
    while (n >= 8) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + 4, 4);
        low ^= crc;
        crc = table[7][low & 255] ^ table[6][(low >> 8) & 255] ^ table[5][(low >> 16) & 255] ^ table[4][low >> 24] ^
              table[3][high & 255] ^ table[2][(high >> 8) & 255] ^ table[1][(high >> 16) & 255] ^ table[0][high >> 24];
        p += 8;
        n -= 8;
    }
    while (n--) crc = (crc >> 8) ^ table[0][(crc ^ *p++) & 255];
    return crc;
}

// One step of the instruction takes three cycles and a new one can begin every cycle: three stretches at once
// cost as much as one. Their results are joined by advancing a checksum over a stretch of zeros, which is linear
// in its bits and therefore four look-ups.
#define STRETCH 4096
static uint32_t advance_table[4][256];
static volatile int advance_ready;

static void make_advance_table(void) {
    if (!table_ready) make_table();
    uint32_t bits[32];
    for (int i = 0; i < 32; i++) {
        uint32_t c = 1u << i;
        for (int k = 0; k < STRETCH; k++) c = (c >> 8) ^ table[0][c & 255];
        bits[i] = c;
    }
    for (int byte = 0; byte < 4; byte++) {
        for (int value = 0; value < 256; value++) {
            uint32_t c = 0;
            for (int bit = 0; bit < 8; bit++) {
                if (value & (1 << bit)) c ^= bits[byte * 8 + bit];
            }
            advance_table[byte][value] = c;
        }
    }
    __sync_synchronize();
    advance_ready = 1;
}

static inline uint32_t advance(uint32_t c) {
    return advance_table[0][c & 255] ^ advance_table[1][(c >> 8) & 255] ^ advance_table[2][(c >> 16) & 255] ^
           advance_table[3][c >> 24];
}

#if defined(__x86_64__)
#include <nmmintrin.h>
#define HARDWARE __attribute__((target("sse4.2")))
#define STEP8(c, word) ((uint32_t)_mm_crc32_u64(c, word))
#define STEP1(c, byte) _mm_crc32_u8(c, byte)
static int has_hardware(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define HARDWARE
#define STEP8(c, word) __crc32cd(c, word)
#define STEP1(c, byte) __crc32cb(c, byte)
static int has_hardware(void) { return 1; }
#else
#define HARDWARE
#define STEP8(c, word) 0
#define STEP1(c, byte) 0
static int has_hardware(void) { return 0; }
#endif

HARDWARE static uint32_t hardware(uint32_t c, const unsigned char *p, size_t n) {
    if (n >= 3 * STRETCH && !advance_ready) make_advance_table();
    while (n >= 3 * STRETCH) {
        uint32_t second = 0, third = 0;
        for (size_t i = 0; i < STRETCH; i += 8) {
            uint64_t words[3];
            memcpy(&words[0], p + i, 8);
            memcpy(&words[1], p + STRETCH + i, 8);
            memcpy(&words[2], p + 2 * STRETCH + i, 8);
            c = STEP8(c, words[0]);
            second = STEP8(second, words[1]);
            third = STEP8(third, words[2]);
        }
        c = advance(advance(c) ^ second) ^ third;
        p += 3 * STRETCH;
        n -= 3 * STRETCH;
    }
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = STEP8(c, word);
        p += 8;
        n -= 8;
    }
    while (n--) c = STEP1(c, *p++);
    return c;
}

uint32_t weed_crc32c(uint32_t crc, const void *bytes, size_t length) {
    const unsigned char *p = bytes;
    crc = ~crc;
    crc = has_hardware() ? hardware(crc, p, length) : software(crc, p, length);
    return ~crc;
}
