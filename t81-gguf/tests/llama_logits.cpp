// Writes the logits that llama.cpp computes for given token ids, which none of its own programs does.
//
//   llama-logits MODEL.gguf --ids-file IDS -o OUT.f32 [-t THREADS] [-q]
//
// OUT.f32 gets [tokens, vocabulary] floats, little endian. Keys and values are kept in f32. Build it beside llama.cpp:
//
//   g++ -O2 -std=c++17 llama_logits.cpp -I llama.cpp/include -I llama.cpp/ggml/include -L llama.cpp/build/bin \
//       -lllama -lggml -lggml-base -Wl,-rpath,llama.cpp/build/bin -o llama.cpp/build/bin/llama-logits
#include "llama.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

static int fail(const std::string & message) {
    std::fprintf(stderr, "error: %s\n", message.c_str());
    return 1;
}

static void only_warnings(ggml_log_level level, const char * text, void *) {
    if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
}

int main(int count, char ** arguments) {
    std::string model_path, ids_path, output_path;
    int threads = 2;
    for (int i = 1; i < count; i++) {
        const std::string flag = arguments[i];
        const bool has_value = i + 1 < count;
        if (flag == "-q") llama_log_set(only_warnings, nullptr);
        else if (flag == "--ids-file" && has_value) ids_path = arguments[++i];
        else if (flag == "-o" && has_value) output_path = arguments[++i];
        else if (flag == "-t" && has_value) threads = std::atoi(arguments[++i]);
        else if (flag[0] != '-' && model_path.empty()) model_path = flag;
        else return fail("unexpected argument " + flag);
    }
    std::ifstream ids_file(ids_path);
    const std::vector<llama_token> ids{std::istream_iterator<llama_token>(ids_file), {}};
    if (ids.empty()) return fail("no token ids in '" + ids_path + "'");

    llama_backend_init();
    llama_model * model = llama_model_load_from_file(model_path.c_str(), llama_model_default_params());
    if (model == nullptr) return fail("cannot load '" + model_path + "'");
    llama_context_params settings = llama_context_default_params();
    settings.n_ctx = settings.n_batch = settings.n_ubatch = ids.size();
    settings.n_threads = settings.n_threads_batch = threads;
    settings.type_k = settings.type_v = GGML_TYPE_F32;
    settings.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context * context = llama_init_from_model(model, settings);
    if (context == nullptr) return fail("cannot make a context");

    llama_batch batch = llama_batch_init(ids.size(), 0, 1);
    batch.n_tokens = ids.size();
    for (size_t i = 0; i < ids.size(); i++) {
        batch.token[i] = ids[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = true;
    }
    if (llama_decode(context, batch) != 0) return fail("cannot decode");
    const size_t vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    std::ofstream output(output_path, std::ios::binary);
    for (size_t i = 0; i < ids.size(); i++) {
        const float * row = llama_get_logits_ith(context, i);
        output.write(reinterpret_cast<const char *>(row), vocabulary * sizeof(float));
    }
    output.close();
    if (!output) return fail("cannot write '" + output_path + "'");
    llama_batch_free(batch);
    llama_free(context);
    llama_model_free(model);
    return 0;
}
