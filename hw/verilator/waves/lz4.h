// What Verilator's FST writer calls of liblz4, so that waveforms need no library to be installed: greedy LZ4 blocks.

#ifndef VDLA_WAVES_LZ4_H
#define VDLA_WAVES_LZ4_H

#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

// One sequence: literals, then a match (of length 0: the last sequence). Returns where the next one goes.
inline uint8_t* vdla_lz4_sequence(uint8_t* out, const uint8_t* literals, uint32_t count, uint32_t offset, uint32_t match) {
  uint8_t* token = out++;
  const auto length = [&out](uint32_t rest) {
    for (; rest >= 255; rest -= 255) *out++ = 255;
    *out++ = static_cast<uint8_t>(rest);
  };
  *token = static_cast<uint8_t>((count < 15 ? count : 15) << 4);
  if (count >= 15) length(count - 15);
  std::memcpy(out, literals, count);
  out += count;
  if (!match) return out;
  *out++ = static_cast<uint8_t>(offset);
  *out++ = static_cast<uint8_t>(offset >> 8);
  *token |= match - 4 < 15 ? match - 4 : 15;
  if (match - 4 >= 15) length(match - 4 - 15);
  return out;
}

// Matches are of 4 bytes or more, start 12 or more bytes before the end and leave its last 5 as literals.
inline int LZ4_compress_default(const char* source, char* target, int size, int) {
  const uint8_t* in = reinterpret_cast<const uint8_t*>(source);
  uint8_t* out = reinterpret_cast<uint8_t*>(target);
  std::vector<int32_t> last(1 << 14, -65536);  // where the four bytes of a hash were last seen
  int anchor = 0;
  for (int at = 0; at < size - 12;) {
    uint32_t word, earlier = 0;
    std::memcpy(&word, in + at, 4);
    int32_t& seen = last[word * 2654435761u >> 18];
    const int candidate = seen;
    seen = at;
    if (candidate >= 0) std::memcpy(&earlier, in + candidate, 4);
    if (candidate < 0 || at - candidate > 65535 || earlier != word) {
      ++at;
      continue;
    }
    int match = 4;
    while (at + match < size - 5 && in[at + match] == in[candidate + match]) ++match;
    out = vdla_lz4_sequence(out, in + anchor, at - anchor, at - candidate, match);
    anchor = at += match;
  }
  out = vdla_lz4_sequence(out, in + anchor, size - anchor, 0, 0);
  return static_cast<int>(out - reinterpret_cast<uint8_t*>(target));
}

#endif
