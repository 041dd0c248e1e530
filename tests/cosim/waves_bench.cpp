// A filter: what hw/verilator/waves makes of stdin. The argument says by whose rules: lz4 or zlib.

#include <cstdio>
#include <cstring>
#include <vector>

#include "waves/lz4.h"
#include "waves/zlib.h"

int main(int, char** arguments) {
  std::vector<char> in, out;
  char chunk[4096];
  for (size_t n; (n = std::fread(chunk, 1, sizeof chunk, stdin)) > 0;) in.insert(in.end(), chunk, chunk + n);
  if (!std::strcmp(arguments[1], "lz4")) {
    out.resize(LZ4_compressBound(static_cast<int>(in.size())));
    out.resize(LZ4_compress_default(in.data(), out.data(), static_cast<int>(in.size()), static_cast<int>(out.size())));
  } else {
    uLongf size = compressBound(in.size());
    out.resize(size);
    compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(in.data()), in.size(), 1);
    out.resize(size);
  }
  std::fwrite(out.data(), 1, out.size(), stdout);
}
