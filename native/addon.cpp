// What JavaScript sees: an engine is made once for a number of threads and an instruction path, and is the first
// argument of every function. Files add their functions in REGISTER.
#include "boundary.h"

// Written by build.mjs: what was compiled and by whom, and the digest of its sources.
extern const char* const bitlawBuild;
extern const char* const bitlawSources;

namespace bitlaw {

// One a file that exports functions.
void registerAttention(Napi::Env, Napi::Object exports);
void registerBench(Napi::Env, Napi::Object exports);
void registerHead(Napi::Env, Napi::Object exports);
void registerLinear(Napi::Env, Napi::Object exports);
void registerVector(Napi::Env, Napi::Object exports);
void registerQuantize(Napi::Env, Napi::Object exports);
void registerGptq(Napi::Env, Napi::Object exports);
void registerFormats(Napi::Env, Napi::Object exports);
using Registration = void (*)(Napi::Env, Napi::Object);
static constexpr Registration REGISTER[] = {registerAttention, registerBench, registerHead, registerLinear, registerVector, registerQuantize, registerGptq, registerFormats};

/** create(threads, path name or ''): the engine, or undefined where the path cannot run here. */
static Napi::Value create(const Napi::CallbackInfo& info) {
  Arguments args(info);
  size_t threads = args.count("threads");
  if (threads < 1 || threads > 1024) args.fail("threads", "1 to 1024");
  const Ops* path = choosePath(args.text("isa"));
  if (!path) return info.Env().Undefined();
  return Napi::External<Engine>::New(info.Env(), new Engine(static_cast<int>(threads), path), [](Napi::Env, Engine* engine) { delete engine; });
}

static Napi::Value pathName(const Napi::CallbackInfo& info) {
  Arguments args(info);
  return Napi::String::New(info.Env(), args.engine().ops->name);
}

static Napi::Value paths(const Napi::CallbackInfo& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  for (const auto& name : pathsHere()) names[names.Length()] = Napi::String::New(info.Env(), name);
  return names;
}

/** allocate(length): zeros that begin on a cache line, so that no vector of a row spans two. */
static Napi::Value allocate(const Napi::CallbackInfo& info) {
  Arguments args(info);
  constexpr size_t LINE = 64;
  size_t length = args.count("length");
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(info.Env(), length * sizeof(float) + LINE);
  size_t offset = (LINE - reinterpret_cast<uintptr_t>(buffer.Data()) % LINE) % LINE;
  return Napi::Float32Array::New(info.Env(), length, buffer, offset);
}

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports["build"] = Napi::String::New(env, bitlawBuild);
  exports["sources"] = Napi::String::New(env, bitlawSources);
  exports["allocate"] = Napi::Function::New<allocate>(env);
  exports["create"] = Napi::Function::New<create>(env);
  exports["pathName"] = Napi::Function::New<pathName>(env);
  exports["paths"] = Napi::Function::New<paths>(env);
  for (Registration add : REGISTER) add(env, exports);
  return exports;
}

NODE_API_MODULE(bitlaw, init)

}  // namespace bitlaw
