// The clock, the memory and the host's side of the verilated `vdla_shell`, behind a C interface for hw/simulation.py.
//
// Compiled once for each design, with VDLA_BUS_BYTES, VDLA_SHARED_PORT (0 or 1) and, for waveforms, VDLA_WAVES.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "Vvdla_shell.h"
#include "memory.h"
#include "verilated.h"
#ifdef VDLA_WAVES
#include "verilated_fst_c.h"
#endif

namespace {

using vdla::FromCore;
using vdla::Port;
using vdla::ToCore;

constexpr unsigned RESET_CYCLES = 8;
constexpr unsigned REGISTER_PATIENCE = 1000;  // cycles for an AXI4-Lite transfer
constexpr unsigned FETCH = 0;
enum Kind : unsigned { STARTED = 0, RETIRED = 1, MOVED = 2, KINDS = 3 };
enum Reason : int { INTERRUPT = 0, REACHED = 1, CYCLES = 2, FAILED = 3 };

// Verilator makes a signal of up to 64 bits an integer and a wider one an array of words, all little-endian.
template <typename Signal>
const uint8_t* bytes_of(const Signal& signal) {
  return reinterpret_cast<const uint8_t*>(&signal);
}

// The pins of one memory port. `p` is its prefix.
#define SAMPLE_READS(p, in)              \
  in.ar_valid = top_->p##arvalid;        \
  in.ar_address = top_->p##araddr;       \
  in.ar_length = top_->p##arlen;         \
  in.ar_size = top_->p##arsize;          \
  in.ar_burst = top_->p##arburst;        \
  in.ar_id = top_->p##arid;              \
  in.r_ready = top_->p##rready
#define SAMPLE_WRITES(p, in)             \
  in.aw_valid = top_->p##awvalid;        \
  in.aw_address = top_->p##awaddr;       \
  in.aw_length = top_->p##awlen;         \
  in.aw_size = top_->p##awsize;          \
  in.aw_burst = top_->p##awburst;        \
  in.aw_id = top_->p##awid;              \
  in.w_valid = top_->p##wvalid;          \
  in.w_last = top_->p##wlast;            \
  in.w_data = bytes_of(top_->p##wdata);  \
  in.w_strobes = bytes_of(top_->p##wstrb); \
  in.b_ready = top_->p##bready
#define DRIVE_READS(p, out)              \
  top_->p##arready = out.ar_ready;       \
  top_->p##rvalid = out.r_valid;         \
  if (out.r_valid) {                     \
    top_->p##rid = out.r_id;             \
    top_->p##rresp = out.r_response;     \
    top_->p##rlast = out.r_last;         \
    std::memcpy(&top_->p##rdata, out.r_data, VDLA_BUS_BYTES); \
  }
#define DRIVE_WRITES(p, out)             \
  top_->p##awready = out.aw_ready;       \
  top_->p##wready = out.w_ready;         \
  top_->p##bvalid = out.b_valid;         \
  if (out.b_valid) {                     \
    top_->p##bid = out.b_id;             \
    top_->p##bresp = out.b_response;     \
  }

class Simulation {
 public:
  Simulation(const vdla::MemoryConfig& config, uint8_t* dram)
      : context_(std::make_unique<VerilatedContext>()), store_(config, dram, VDLA_BUS_BYTES) {
    context_->traceEverOn(true);
    top_ = std::make_unique<Vvdla_shell>(context_.get());
    for (unsigned k = 0; k < port_count(); ++k) ports_.emplace_back(&store_);
    in_.resize(port_count());
    out_.resize(port_count());
  }

  ~Simulation() {
#ifdef VDLA_WAVES
    if (waves_) waves_->close();
#endif
    top_->final();
  }

  void reset() {
    top_->aresetn = 0;
    top_->s_axil_bready = 1;
    top_->s_axil_rready = 1;
    for (unsigned k = 0; k < RESET_CYCLES; ++k) step();
    top_->aresetn = 1;
    step();
  }

  void open_waves(const char* path) {
#ifdef VDLA_WAVES
    waves_ = std::make_unique<VerilatedFstC>();
    top_->trace(waves_.get(), 99);
    waves_->open(path);
#else
    throw std::runtime_error(std::string("this model was built without waveforms: ") + path);
#endif
  }

  uint32_t read(uint32_t offset) {
    top_->s_axil_araddr = offset;
    top_->s_axil_arvalid = 1;
    bool requested = false;
    for (unsigned k = 0; k < REGISTER_PATIENCE; ++k) {
      settle();
      const bool taken = top_->s_axil_arvalid && top_->s_axil_arready, answered = top_->s_axil_rvalid;
      const uint32_t value = top_->s_axil_rdata;
      advance();
      requested |= taken;
      if (requested) top_->s_axil_arvalid = 0;
      if (answered) return value;
    }
    throw std::runtime_error("a register read was not answered");
  }

  void write(uint32_t offset, uint32_t value) {
    top_->s_axil_awaddr = offset;
    top_->s_axil_awvalid = 1;
    top_->s_axil_wdata = value;
    top_->s_axil_wstrb = 0xf;
    top_->s_axil_wvalid = 1;
    for (unsigned k = 0; k < REGISTER_PATIENCE; ++k) {
      settle();
      const bool address_taken = top_->s_axil_awvalid && top_->s_axil_awready;
      const bool data_taken = top_->s_axil_wvalid && top_->s_axil_wready, answered = top_->s_axil_bvalid;
      advance();
      if (address_taken) top_->s_axil_awvalid = 0;
      if (data_taken) top_->s_axil_wvalid = 0;
      if (answered) return;
    }
    throw std::runtime_error("a register write was not answered");
  }

  // Until irq, or every unit has retired as many instructions as `retired` says (if given), or for `cycles`.
  Reason run(uint64_t cycles, const uint64_t* retired) {
    for (const uint64_t end = now_ + cycles; now_ < end; step()) {
      if (retired && reached(retired)) return REACHED;
      if (top_->irq) return INTERRUPT;
      if (!store_.error.empty()) throw std::runtime_error("the core breaks the bus protocol: " + store_.error);
    }
    return CYCLES;
  }

  void configure(const vdla::MemoryConfig& config) { store_.config = config; }

  uint64_t now() const { return now_; }
  int64_t zero() const { return zero_; }
  const std::vector<int64_t>& events(unsigned unit, unsigned kind) const { return events_[kind % KINDS][unit]; }

  std::string error;

 private:
  static constexpr unsigned port_count() { return VDLA_SHARED_PORT ? 1 : vdla::UNITS; }

  void step() {
    settle();
    advance();
  }

  // The first part of a cycle: every signal takes its value, and what they say is noted.
  void settle() {
    for (unsigned k = 0; k < port_count(); ++k) ports_[k].drive(now_, &out_[k]);
    drive_pins();
    top_->aclk = 0;
    top_->eval();
    sample_pins();
    if (top_->trace_running && !running_) zero_ = static_cast<int64_t>(now_);
    running_ = top_->trace_running;
    if (top_->trace_retire) note_retired(top_->trace_retire);  // the next one can start in the same cycle
    if (top_->trace_start) note_started(top_->trace_start);
  }

  // The second part: the clock's edge.
  void advance() {
    for (unsigned k = 0; k < port_count(); ++k) {
      note_beats(k);
      ports_[k].sample(now_, in_[k], out_[k]);
    }
#ifdef VDLA_WAVES
    if (waves_) waves_->dump(10 * now_ + 5);
#endif
    top_->aclk = 1;
    top_->eval();
#ifdef VDLA_WAVES
    if (waves_) waves_->dump(10 * (now_ + 1));
#endif
    ++now_;
  }

  void drive_pins() {
#if VDLA_SHARED_PORT
    DRIVE_READS(m_axi_, out_[0]);
    DRIVE_WRITES(m_axi_, out_[0]);
#else
    DRIVE_READS(m_axi_fetch_, out_[0]);
    DRIVE_READS(m_axi_load_, out_[1]);
    DRIVE_READS(m_axi_compute_, out_[2]);
    DRIVE_WRITES(m_axi_store_, out_[3]);
#endif
  }

  void sample_pins() {
#if VDLA_SHARED_PORT
    SAMPLE_READS(m_axi_, in_[0]);
    SAMPLE_WRITES(m_axi_, in_[0]);
#else
    SAMPLE_READS(m_axi_fetch_, in_[0]);
    SAMPLE_READS(m_axi_load_, in_[1]);
    SAMPLE_READS(m_axi_compute_, in_[2]);
    SAMPLE_WRITES(m_axi_store_, in_[3]);
#endif
  }

  void note(unsigned units, std::vector<int64_t>* events) {
    for (unsigned unit = 0; unit < vdla::UNITS; ++unit)
      if (units >> unit & 1) events[unit].push_back(static_cast<int64_t>(now_));
  }

  void note_started(unsigned units) {
    note(units, events_[STARTED]);
    for (unsigned unit = 0; unit < vdla::UNITS; ++unit)
      if (units >> unit & 1) moved_[unit] = 0;
  }

  void note_retired(unsigned units) {
    note(units, events_[RETIRED]);
    for (unsigned unit = 0; unit < vdla::UNITS; ++unit)
      if (units >> unit & 1) events_[MOVED][unit].push_back(moved_[unit]);
  }

  // What goes over port `k` in this cycle. Of FETCH, which retires nothing, the cycle of each beat is kept.
  void note_beats(unsigned k) {
    if (out_[k].r_valid && in_[k].r_ready) {
      const unsigned unit = VDLA_SHARED_PORT ? out_[k].r_id : k;
      ++moved_[unit];
      if (unit == FETCH) events_[MOVED][FETCH].push_back(static_cast<int64_t>(now_));
    }
    if (out_[k].w_ready && in_[k].w_valid) ++moved_[vdla::STORE];
  }

  bool reached(const uint64_t* retired) const {
    for (unsigned unit = 0; unit < vdla::UNITS; ++unit)
      if (events_[RETIRED][unit].size() < retired[unit]) return false;
    return true;
  }

  std::unique_ptr<VerilatedContext> context_;
  std::unique_ptr<Vvdla_shell> top_;
#ifdef VDLA_WAVES
  std::unique_ptr<VerilatedFstC> waves_;
#endif
  vdla::Store store_;
  std::vector<Port> ports_;
  std::vector<FromCore> in_;
  std::vector<ToCore> out_;
  std::vector<int64_t> events_[KINDS][vdla::UNITS];
  int64_t moved_[vdla::UNITS] = {};  // beats of the instruction each unit runs
  uint64_t now_ = 0;
  int64_t zero_ = -1;  // when cycle 0 of the last run was
  bool running_ = false;
};

// Run `work`; an exception becomes `error` and the value `failed`.
template <typename Work, typename Value>
Value guarded(Simulation* simulation, Value failed, Work work) {
  try {
    return work();
  } catch (const std::exception& problem) {
    simulation->error = problem.what();
    return failed;
  }
}

[[noreturn]] void stop(const char* file, int line, const char* message) {
  throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + message);
}

}  // namespace

// What $finish, $stop and $fatal do: errors of the simulation instead of the end of the process.
void vl_finish(const char* file, int line, const char*) { stop(file, line, "$finish"); }
void vl_stop(const char* file, int line, const char*) { stop(file, line, "$stop"); }
void vl_fatal(const char* file, int line, const char*, const char* message) { stop(file, line, message); }

extern "C" {

Simulation* vdla_new(const vdla::MemoryConfig* config, uint8_t* dram) {
  try {
    return new Simulation(*config, dram);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return nullptr;
  }
}

void vdla_free(Simulation* simulation) { delete simulation; }

const char* vdla_error(const Simulation* simulation) { return simulation->error.c_str(); }

int vdla_reset(Simulation* simulation) {
  return guarded(simulation, 1, [&] { return simulation->reset(), 0; });
}

// From now on the memory is as `config` says.
void vdla_configure(Simulation* simulation, const vdla::MemoryConfig* config) { simulation->configure(*config); }

int vdla_open_waves(Simulation* simulation, const char* path) {
  return guarded(simulation, 1, [&] { return simulation->open_waves(path), 0; });
}

// The register's value, or -1 with `vdla_error`.
int64_t vdla_read(Simulation* simulation, uint32_t offset) {
  return guarded(simulation, int64_t{-1}, [&] { return static_cast<int64_t>(simulation->read(offset)); });
}

int vdla_write(Simulation* simulation, uint32_t offset, uint32_t value) {
  return guarded(simulation, 1, [&] { return simulation->write(offset, value), 0; });
}

int vdla_run(Simulation* simulation, uint64_t cycles, const uint64_t* retired) {
  return guarded(simulation, static_cast<int>(FAILED), [&] { return static_cast<int>(simulation->run(cycles, retired)); });
}

uint64_t vdla_cycles(const Simulation* simulation) { return simulation->now(); }

// When cycle 0 of the last run was; -1 before the first.
int64_t vdla_zero(const Simulation* simulation) { return simulation->zero(); }

// How many events of a kind there have been, and what is known of each:
//   STARTED  the cycle in which `unit` started an instruction; FETCH: dispatched one
//   RETIRED  the cycle in which it finished one
//   MOVED    the beats one had moved when it finished; FETCH: the cycle of each beat
uint64_t vdla_events(const Simulation* simulation, unsigned unit, unsigned kind, int64_t* out) {
  const std::vector<int64_t>& events = simulation->events(unit, kind);
  if (out) std::memcpy(out, events.data(), events.size() * sizeof(int64_t));
  return events.size();
}

}  // extern "C"
