// The memory of the simulation: an AXI4 slave that keeps the DMA and BUS sections of isa/timing.py to the cycle.
//
// In a cycle, `drive` says what the memory shows on its side of a port, from what happened in earlier cycles only, and
// `sample` takes in what the core showed on its side. So a read requested in cycle t has its first beat in cycle
// t + read_latency or later, a write may give its first beat in t + WRITE_SETUP, and a last beat in cycle c is answered
// in c + write_latency.
//
// With stress the memory stays within AXI4 and is otherwise as unhelpful as it may be: any channel pauses at random,
// latencies vary, bursts of different IDs are interleaved beat by beat, a read returns what memory held when it was
// requested, and what is written is seen only when its response has been taken.

#ifndef VDLA_MEMORY_H
#define VDLA_MEMORY_H

#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

namespace vdla {

constexpr unsigned UNITS = 4;  // fetch, load, compute, store: the order of vdla.device.UNITS, and the IDs on a shared port
constexpr unsigned STORE = 3;
constexpr unsigned BUS_PRIORITY[UNITS] = {2, 3, 1, 0};
constexpr unsigned WRITE_SETUP = 2;
constexpr unsigned BOUNDARY_BYTES = 4096;
constexpr unsigned INCREMENTING = 1, OKAY = 0, DECERR = 3;  // AXI4's burst type and responses

// Mirrored field by field in hw/simulation.py.
struct MemoryConfig {
  uint64_t base;             // bus address of the first byte
  uint64_t bytes;
  uint64_t seed;
  uint64_t fault_begin;      // accesses to [fault_begin, fault_end) are answered with fault_response
  uint64_t fault_end;
  uint32_t fault_response;   // 2 SLVERR, 3 DECERR
  uint32_t fault_on;         // bit 0: reads, bit 1: writes
  uint32_t read_latency;
  uint32_t write_latency;
  uint32_t max_burst;        // what the core promised, checked
  uint32_t outstanding;
  uint32_t stress;           // 0: to the cycle; else channels pause this often, in 1/1000
  uint32_t extra_latency;    // with stress: up to this many cycles more
};

// What the core shows on one port in a cycle.
struct FromCore {
  uint64_t ar_address, aw_address;
  const uint8_t *w_data, *w_strobes;
  unsigned ar_length, ar_size, ar_burst, ar_id;
  unsigned aw_length, aw_size, aw_burst, aw_id;
  bool ar_valid, aw_valid, w_valid, w_last, r_ready, b_ready;
};

// What the memory shows on one port in a cycle.
struct ToCore {
  const uint8_t* r_data;
  unsigned r_id, r_response, b_id, b_response;
  bool ar_ready, aw_ready, w_ready, r_valid, r_last, b_valid;
};

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint32_t below(uint32_t limit) {  // splitmix64
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return static_cast<uint32_t>(((z ^ (z >> 31)) >> 32) * limit >> 32);
  }

 private:
  uint64_t state_;
};

// A burst under way. data and strobes are used by reads under stress (a snapshot) and by writes under stress (until the
// response is taken).
struct Burst {
  uint64_t address;  // of its next beat
  uint64_t ready;    // it can be served from this cycle
  unsigned beats;    // left
  unsigned id;
  unsigned response;
  std::vector<uint8_t> data, strobes;
  uint64_t first;    // address of its first beat
};

// The DRAM and its configuration, shared by all ports.
struct Store {
  MemoryConfig config;
  uint8_t* const bytes;
  const unsigned beat_bytes;
  Random random;
  std::string error;  // the first thing the core did against AXI4 or against what it promised

  Store(const MemoryConfig& config, uint8_t* bytes, unsigned beat_bytes)
      : config(config), bytes(bytes), beat_bytes(beat_bytes), random(config.seed) {}

  bool inside(uint64_t address) const {
    return address >= config.base && address - config.base + beat_bytes <= config.bytes;
  }

  unsigned response(uint64_t address, bool write) const {
    if (!inside(address)) return DECERR;
    const bool faulty = address + beat_bytes > config.fault_begin && address < config.fault_end;
    return faulty && (config.fault_on >> write & 1) ? config.fault_response : OKAY;
  }

  uint8_t* at(uint64_t address) const { return bytes + (address - config.base); }

  void write(uint64_t address, const uint8_t* data, const uint8_t* strobes) const {
    if (!inside(address)) return;
    uint8_t* place = at(address);
    for (unsigned k = 0; k < beat_bytes; ++k)
      if (strobes[k / 8] >> (k % 8) & 1) place[k] = data[k];
  }

  bool pauses() { return config.stress && random.below(1000) < config.stress; }
  uint64_t extra() { return config.stress && config.extra_latency ? random.below(config.extra_latency + 1) : 0; }

  void refuse(const std::string& what) {
    if (error.empty()) error = what;
  }
};

// One AXI4 port: shared by all units (its IDs say which) or of one.
class Port {
 public:
  explicit Port(Store* store) : store_(*store) {}

  // What the memory shows in cycle `now`.
  void drive(uint64_t now, ToCore* out) {
    out->ar_ready = !store_.pauses();
    out->aw_ready = !store_.pauses();
    choose(now);
    out->w_ready = write_granted_;
    drive_read(out);
    drive_response(now, out);
  }

  // What the core showed in cycle `now`, after `drive` of the same cycle.
  void sample(uint64_t now, const FromCore& in, const ToCore& out) {
    check_held(in, out);
    if (out.r_valid && in.r_ready) end_read_beat();
    if (in.w_valid && out.w_ready) take_write_beat(now, in);
    if (out.b_valid && in.b_ready) end_response();
    if (in.ar_valid && out.ar_ready) take_read(now, in);
    if (in.aw_valid && out.aw_ready) take_write(now, in);
    ar_waits_ = in.ar_valid && !out.ar_ready;
    aw_waits_ = in.aw_valid && !out.aw_ready;
    w_waits_ = in.w_valid && !out.w_ready;
    if (ar_waits_) ar_held_ = {in.ar_address, in.ar_length, in.ar_id};
    if (aw_waits_) aw_held_ = {in.aw_address, in.aw_length, in.aw_id};
    if (w_waits_) {
      w_held_.assign(in.w_data, in.w_data + store_.beat_bytes);
      w_held_.insert(w_held_.end(), in.w_strobes, in.w_strobes + strobe_bytes());
    }
  }

  bool idle() const {
    for (const auto& queue : reads_)
      if (!queue.empty()) return false;
    return writes_.empty() && responses_.empty();
  }

 private:
  struct Held {
    uint64_t address;
    unsigned length, id;
  };

  // Who moves a beat in this cycle: one unit, by priority; under stress a random read and a write, or neither.
  void choose(uint64_t now) {
    const bool held = reading_ >= 0;  // an offered beat stays until it is taken, and so owns the bus
    write_granted_ = false;
    if (store_.config.stress) {
      if (!held && !store_.pauses()) reading_ = random_reader(now);
      write_granted_ = !writes_.empty() && writes_.front().ready <= now && !store_.pauses();
      return;
    }
    if (held) return;
    for (const unsigned unit : BUS_PRIORITY) {
      if (unit == STORE && !writes_.empty() && writes_.front().ready <= now) {
        write_granted_ = true;
        return;
      }
      if (!reads_[unit].empty() && reads_[unit].front().ready <= now) {
        reading_ = static_cast<int>(unit);
        return;
      }
    }
  }

  int random_reader(uint64_t now) {
    const unsigned first = store_.random.below(UNITS);
    for (unsigned k = 0; k < UNITS; ++k) {
      const unsigned id = (first + k) % UNITS;
      if (!reads_[id].empty() && reads_[id].front().ready <= now) return static_cast<int>(id);
    }
    return -1;
  }

  void drive_read(ToCore* out) {
    static const uint8_t zeros[128] = {};
    out->r_valid = reading_ >= 0;
    if (!out->r_valid) return;
    const Burst& burst = reads_[reading_].front();
    out->r_id = burst.id;
    out->r_last = burst.beats == 1;
    out->r_response = store_.response(burst.address, false);
    if (!burst.data.empty()) out->r_data = &burst.data[burst.address - burst.first];
    else out->r_data = store_.inside(burst.address) ? store_.at(burst.address) : zeros;
  }

  void drive_response(uint64_t now, ToCore* out) {
    if (!response_offered_) response_offered_ = !responses_.empty() && responses_.front().ready <= now && !store_.pauses();
    out->b_valid = response_offered_;
    if (!out->b_valid) return;
    out->b_id = responses_.front().id;
    out->b_response = responses_.front().response;
  }

  void end_read_beat() {
    auto& queue = reads_[reading_];
    Burst& burst = queue.front();
    burst.address += store_.beat_bytes;
    if (--burst.beats == 0) queue.pop_front();
    reading_ = -1;
  }

  void take_write_beat(uint64_t now, const FromCore& in) {
    Burst& burst = writes_.front();
    const unsigned response = store_.response(burst.address, true);
    if (response > burst.response) burst.response = response;
    if (response == OKAY) {
      if (store_.config.stress) {
        const uint64_t at = burst.address - burst.first;
        std::memcpy(&burst.data[at], in.w_data, store_.beat_bytes);
        for (unsigned k = 0; k < store_.beat_bytes; ++k) burst.strobes[at + k] = in.w_strobes[k / 8] >> (k % 8) & 1;
      } else {
        store_.write(burst.address, in.w_data, in.w_strobes);
      }
    }
    burst.address += store_.beat_bytes;
    if (in.w_last != (burst.beats == 1)) store_.refuse("wlast is not with the last beat of a write burst");
    if (--burst.beats) return;
    burst.ready = now + store_.config.write_latency + store_.extra();
    responses_.push_back(std::move(burst));
    writes_.pop_front();
  }

  void end_response() {
    const Burst& burst = responses_.front();
    for (uint64_t k = 0; k < burst.strobes.size(); ++k)
      if (burst.strobes[k]) *store_.at(burst.first + k) = burst.data[k];
    responses_.pop_front();
    response_offered_ = false;
  }

  void take_read(uint64_t now, const FromCore& in) {
    check_request("read", in.ar_address, in.ar_length, in.ar_size, in.ar_burst);
    Burst burst = request(now + store_.config.read_latency, in.ar_address, in.ar_length, in.ar_id);
    if (store_.config.stress) {
      burst.data.assign(burst.beats * store_.beat_bytes, 0);
      for (unsigned k = 0; k < burst.beats; ++k) {
        const uint64_t address = burst.first + k * store_.beat_bytes;
        if (store_.inside(address)) std::memcpy(&burst.data[k * store_.beat_bytes], store_.at(address), store_.beat_bytes);
      }
    }
    auto& queue = reads_[in.ar_id % UNITS];
    if (queue.size() >= store_.config.outstanding) store_.refuse("more read bursts of one unit in flight than `outstanding`");
    queue.push_back(std::move(burst));
  }

  void take_write(uint64_t now, const FromCore& in) {
    check_request("write", in.aw_address, in.aw_length, in.aw_size, in.aw_burst);
    Burst burst = request(now + WRITE_SETUP, in.aw_address, in.aw_length, in.aw_id);
    if (store_.config.stress) {
      burst.data.assign(burst.beats * store_.beat_bytes, 0);
      burst.strobes.assign(burst.beats * store_.beat_bytes, 0);
    }
    writes_.push_back(std::move(burst));
  }

  Burst request(uint64_t ready, uint64_t address, unsigned length, unsigned id) {
    const uint64_t first = address & ~static_cast<uint64_t>(store_.beat_bytes - 1);
    return {first, ready + store_.extra(), length + 1, id, OKAY, {}, {}, first};
  }

  void check_request(const char* kind, uint64_t address, unsigned length, unsigned size, unsigned burst) {
    const uint64_t first = address & ~static_cast<uint64_t>(store_.beat_bytes - 1);
    const uint64_t bytes = static_cast<uint64_t>(length + 1) * store_.beat_bytes;
    const std::string what = std::string(kind) + " burst ";
    if (burst != INCREMENTING) store_.refuse(what + "is not incrementing");
    if (1u << size != store_.beat_bytes) store_.refuse(what + "has beats of another size than the bus");
    if (length + 1 > store_.config.max_burst) store_.refuse(what + "is longer than `max_burst`");
    if (first / BOUNDARY_BYTES != (first + bytes - 1) / BOUNDARY_BYTES) store_.refuse(what + "crosses 4 KiB");
  }

  // What is valid stays valid and unchanged until it is taken.
  void check_held(const FromCore& in, const ToCore&) {
    if (ar_waits_ && !(in.ar_valid && in.ar_address == ar_held_.address && in.ar_length == ar_held_.length && in.ar_id == ar_held_.id))
      store_.refuse("a read request changed before it was taken");
    if (aw_waits_ && !(in.aw_valid && in.aw_address == aw_held_.address && in.aw_length == aw_held_.length && in.aw_id == aw_held_.id))
      store_.refuse("a write request changed before it was taken");
    if (w_waits_ && !(in.w_valid && !std::memcmp(w_held_.data(), in.w_data, store_.beat_bytes) &&
                      !std::memcmp(&w_held_[store_.beat_bytes], in.w_strobes, strobe_bytes())))
      store_.refuse("a write beat changed before it was taken");
  }

  unsigned strobe_bytes() const { return (store_.beat_bytes + 7) / 8; }

  Store& store_;
  std::deque<Burst> reads_[UNITS];  // by ID, in order
  std::deque<Burst> writes_, responses_;
  int reading_ = -1;  // the ID whose beat is offered
  bool write_granted_ = false, response_offered_ = false;
  bool ar_waits_ = false, aw_waits_ = false, w_waits_ = false;
  Held ar_held_{}, aw_held_{};
  std::vector<uint8_t> w_held_;
};

}  // namespace vdla

#endif
