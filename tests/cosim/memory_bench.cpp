// Plays lists of bursts to one port of hw/verilator/memory.h and notes when every beat and response comes.

#include <cstdint>
#include <deque>
#include <string>

#include "memory.h"

namespace {
std::string error;
}

struct Request {
  uint64_t cycle, address;  // shown from `cycle` until it is taken; at most one read and one write wait at a time
  uint32_t beats, id, write, size;
};

extern "C" const char* bench_error() { return error.c_str(); }

// data: for each request, beats × beat_bytes: what a write writes, where a read puts what it gets. taken: when the request
// was; over: when its last beat was; answered: a write's response; response: the worst seen. Returns the cycles it took.
extern "C" uint64_t bench_run(const vdla::MemoryConfig* config, uint8_t* dram, unsigned beat_bytes, unsigned count,
                              const Request* requests, uint8_t** data, int64_t* taken, int64_t* over, int64_t* answered,
                              uint32_t* response, uint64_t limit) {
  vdla::Store store(*config, dram, beat_bytes);
  vdla::Port port(&store);
  std::deque<unsigned> reads[vdla::UNITS], writes, waiting_reads, waiting_writes, answers;
  for (unsigned k = 0; k < count; ++k) {
    (requests[k].write ? waiting_writes : waiting_reads).push_back(k);
    taken[k] = over[k] = answered[k] = -1;
    response[k] = 0;
  }
  std::deque<unsigned> read_beats(count, 0);
  const uint64_t strobes[2] = {~0ull, ~0ull};
  unsigned write_beat = 0;
  uint64_t now = 0;
  for (; now < limit && store.error.empty(); ++now) {
    vdla::FromCore in{};
    vdla::ToCore out{};
    in.r_ready = in.b_ready = true;
    in.w_strobes = reinterpret_cast<const uint8_t*>(strobes);
    if (!waiting_reads.empty() && requests[waiting_reads.front()].cycle <= now) {
      const Request& r = requests[waiting_reads.front()];
      in.ar_valid = true, in.ar_address = r.address, in.ar_length = r.beats - 1, in.ar_size = r.size, in.ar_burst = 1, in.ar_id = r.id;
    }
    if (!waiting_writes.empty() && requests[waiting_writes.front()].cycle <= now) {
      const Request& r = requests[waiting_writes.front()];
      in.aw_valid = true, in.aw_address = r.address, in.aw_length = r.beats - 1, in.aw_size = r.size, in.aw_burst = 1, in.aw_id = r.id;
    }
    if (!writes.empty()) {
      in.w_valid = true;
      in.w_data = data[writes.front()] + write_beat * beat_bytes;
      in.w_last = write_beat + 1 == requests[writes.front()].beats;
    }
    port.drive(now, &out);
    if (out.r_valid) {
      const unsigned k = reads[out.r_id].front();
      std::memcpy(data[k] + read_beats[k] * beat_bytes, out.r_data, beat_bytes);
    }
    port.sample(now, in, out);
    if (out.r_valid) {
      const unsigned k = reads[out.r_id].front();
      if (out.r_response > response[k]) response[k] = out.r_response;
      if (++read_beats[k] == requests[k].beats) over[k] = static_cast<int64_t>(now), reads[out.r_id].pop_front();
      if (out.r_last != (over[k] == static_cast<int64_t>(now))) error = "rlast";
    }
    if (in.w_valid && out.w_ready && ++write_beat == requests[writes.front()].beats) {
      over[writes.front()] = static_cast<int64_t>(now);
      answers.push_back(writes.front());
      writes.pop_front();
      write_beat = 0;
    }
    if (out.b_valid) {
      answered[answers.front()] = static_cast<int64_t>(now);
      response[answers.front()] = out.b_response;
      answers.pop_front();
    }
    if (in.ar_valid && out.ar_ready) {
      taken[waiting_reads.front()] = static_cast<int64_t>(now);
      reads[requests[waiting_reads.front()].id].push_back(waiting_reads.front());
      waiting_reads.pop_front();
    }
    if (in.aw_valid && out.aw_ready) {
      taken[waiting_writes.front()] = static_cast<int64_t>(now);
      writes.push_back(waiting_writes.front());
      waiting_writes.pop_front();
    }
    if (waiting_reads.empty() && waiting_writes.empty() && answers.empty() && writes.empty() && port.idle()) break;
  }
  error = store.error;
  return now;
}
