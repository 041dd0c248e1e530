// What Verilator's FST writer calls of zlib, so that waveforms need no library to be installed. Nothing is compressed: the
// result is a stream of stored blocks, larger than its source, and the writer keeps the smaller of the two.

#ifndef VDLA_WAVES_ZLIB_H
#define VDLA_WAVES_ZLIB_H

#include <cstring>

typedef unsigned char Bytef;
typedef unsigned long uLong, uLongf;
constexpr int Z_OK = 0, Z_BUF_ERROR = -5;
constexpr uLong VDLA_STORED = 65535;  // most bytes of a stored block

inline uLong compressBound(uLong size) { return size + 5 * (size / VDLA_STORED + 1) + 6; }

inline int compress2(Bytef* target, uLongf* target_size, const Bytef* source, uLong size, int) {
  if (*target_size < compressBound(size)) return Z_BUF_ERROR;
  Bytef* out = target;
  *out++ = 0x78;
  *out++ = 0x01;
  uLong low = 1, high = 0;  // Adler-32
  for (uLong k = 0; k < size; ++k) high = (high + (low = (low + source[k]) % 65521)) % 65521;
  do {
    const uLong count = size < VDLA_STORED ? size : VDLA_STORED;
    *out++ = count == size;
    for (const uLong value : {count, ~count}) {
      *out++ = static_cast<Bytef>(value);
      *out++ = static_cast<Bytef>(value >> 8);
    }
    std::memcpy(out, source, count);
    out += count;
    source += count;
    size -= count;
  } while (size);
  for (const uLong value : {high >> 8, high, low >> 8, low}) *out++ = static_cast<Bytef>(value);
  *target_size = static_cast<uLongf>(out - target);
  return Z_OK;
}

#endif
