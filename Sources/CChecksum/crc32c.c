#include "CChecksum.h"
#include <string.h>

// Slicing-by-8 tables, made at load time: 8 KiB, the same on every machine.
static uint32_t table[8][256];

__attribute__((constructor)) static void make_tables(void) {
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t crc = n;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1)));
        table[0][n] = crc;
    }
    for (int slice = 1; slice < 8; slice++)
        for (uint32_t n = 0; n < 256; n++)
            table[slice][n] = (table[slice - 1][n] >> 8) ^ table[0][table[slice - 1][n] & 0xFF];
}

uint32_t suanpan_crc32c_portable(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *next = bytes;
    crc = ~crc;
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, next, 8);
        word ^= crc;
        crc = table[7][word & 0xFF] ^ table[6][(word >> 8) & 0xFF] ^ table[5][(word >> 16) & 0xFF]
            ^ table[4][(word >> 24) & 0xFF] ^ table[3][(word >> 32) & 0xFF] ^ table[2][(word >> 40) & 0xFF]
            ^ table[1][(word >> 48) & 0xFF] ^ table[0][word >> 56];
        next += 8;
        count -= 8;
    }
    while (count--) crc = (crc >> 8) ^ table[0][(crc ^ *next++) & 0xFF];
    return ~crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

// The instruction takes one word a cycle and answers three cycles later: three blocks are summed side by side, and each sum
// is moved over the bytes behind it as if they were zeros (the tables), which makes one sum of all.
enum { block = 256 };
static uint32_t moved[4][256];

__attribute__((constructor)) static void make_moves(void) {
    for (int byte = 0; byte < 4; byte++)
        for (uint32_t n = 1; n < 256; n++) {
            uint32_t state = moved[byte][n & (n - 1)] ^ moved[byte][n & -n];
            if ((n & (n - 1)) == 0) {
                state = n << 8 * byte;
                for (int bit = 0; bit < 8 * block; bit++) state = (state >> 1) ^ (0x82F63B78u & (0u - (state & 1)));
            }
            moved[byte][n] = state;
        }
}

static inline uint32_t over_block(uint32_t state) {
    return moved[0][state & 0xFF] ^ moved[1][(state >> 8) & 0xFF] ^ moved[2][(state >> 16) & 0xFF]
        ^ moved[3][state >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_hardware(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *next = bytes;
    uint64_t state = (uint32_t)~crc;
    while (count >= 3 * block) {
        uint64_t second = 0, third = 0;
        for (int at = 0; at < block; at += 8) {
            uint64_t word[3];
            memcpy(&word[0], next + at, 8);
            memcpy(&word[1], next + at + block, 8);
            memcpy(&word[2], next + at + 2 * block, 8);
            state = _mm_crc32_u64(state, word[0]);
            second = _mm_crc32_u64(second, word[1]);
            third = _mm_crc32_u64(third, word[2]);
        }
        state = over_block((uint32_t)state) ^ second;
        state = over_block((uint32_t)state) ^ third;
        next += 3 * block;
        count -= 3 * block;
    }
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, next, 8);
        state = _mm_crc32_u64(state, word);
        next += 8;
        count -= 8;
    }
    while (count--) state = _mm_crc32_u8((uint32_t)state, *next++);
    return ~(uint32_t)state;
}

static int has_instruction(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>

__attribute__((target("+crc"))) static uint32_t crc32c_hardware(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *next = bytes;
    uint32_t state = ~crc;
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, next, 8);
        state = __crc32cd(state, word);
        next += 8;
        count -= 8;
    }
    while (count--) state = __crc32cb(state, *next++);
    return ~state;
}

static int has_instruction(void) { return (getauxval(AT_HWCAP) & (1 << 7)) != 0; }
#else
static uint32_t crc32c_hardware(uint32_t crc, const void *bytes, size_t count) {
    return suanpan_crc32c_portable(crc, bytes, count);
}

static int has_instruction(void) { return 0; }
#endif

static int use_instruction;

__attribute__((constructor)) static void choose(void) { use_instruction = has_instruction(); }

uint32_t suanpan_crc32c(uint32_t crc, const void *bytes, size_t count) {
    return use_instruction ? crc32c_hardware(crc, bytes, count) : suanpan_crc32c_portable(crc, bytes, count);
}
