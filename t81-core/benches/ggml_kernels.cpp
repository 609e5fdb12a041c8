// Times ggml's kernels, the peer of `cargo run --release -p t81-core --example kernels`; built by ggml_kernels.sh.
//
// Prints one line a measurement, "name<TAB>seconds", the best of several. Matrices are 4096 x 4096; a product that reads
// its weights "from memory" goes through enough copies of the matrix to leave the caches.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "ggml-cpu.h"
#include "ggml.h"

namespace {

constexpr int64_t rows = 4096, columns = 4096;
constexpr size_t beyond_caches = 160u << 20;

double best_of(int passes, const std::function<void()> & pass) {
    double best = INFINITY;
    pass();
    for (int i = 0; i < passes; i++) {
        const auto start = std::chrono::steady_clock::now();
        pass();
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
}

void print(const std::string & name, double seconds) {
    std::printf("%s\t%.9g\n", name.c_str(), seconds);
    std::fflush(stdout);
}

void products(ggml_type type, const char * name, const std::vector<float> & weights, int threads) {
    const size_t bytes = ggml_row_size(type, columns) * rows;
    const size_t copies = beyond_caches / bytes + 1;
    ggml_init_params parameters = {copies * bytes + (size_t(256) << 20), nullptr, false};
    ggml_context * context = ggml_init(parameters);
    std::vector<ggml_tensor *> matrices;
    for (size_t i = 0; i < copies; i++) {
        matrices.push_back(ggml_new_tensor_2d(context, type, columns, rows));
        if (i > 0) {
            std::memcpy(matrices[i]->data, matrices[0]->data, bytes);
        } else if (type == GGML_TYPE_F32) {
            std::memcpy(matrices[0]->data, weights.data(), bytes);
        } else {
            ggml_quantize_chunk(type, weights.data(), matrices[0]->data, 0, rows, columns, nullptr);
        }
    }
    const auto time = [&](const std::string & what, int batch, size_t calls, bool one) {
        ggml_tensor * input = ggml_new_tensor_2d(context, GGML_TYPE_F32, columns, batch);
        for (int64_t i = 0; i < columns * batch; i++) {
            static_cast<float *>(input->data)[i] = std::sin(0.37f * float(i));
        }
        ggml_cgraph * graph = ggml_new_graph(context);
        for (size_t i = 0; i < calls; i++) {
            ggml_build_forward_expand(graph, ggml_mul_mat(context, matrices[one ? 0 : i % copies], input));
        }
        ggml_cplan plan = ggml_graph_plan(graph, threads, nullptr);
        std::vector<uint8_t> scratch(plan.work_size + 64);
        plan.work_data = scratch.data();
        const double seconds = best_of(type == GGML_TYPE_Q2_0 ? 2 : 7, [&] { ggml_graph_compute(graph, &plan); });
        print(what + " " + name + " threads=" + std::to_string(threads), seconds / double(calls));
    };
    time("mat-vec, cache", 1, 16, true);
    time("mat-vec, memory", 1, copies, false);
    time("mat-mat N=32", 32, 1, true);
    time("mat-mat N=128", 128, 1, true);
    ggml_free(context);
}

void quantize(ggml_type type, const char * name, const std::vector<float> & weights) {
    std::vector<uint8_t> blocks(ggml_row_size(type, columns) * rows);
    const auto pass = [&] { ggml_quantize_chunk(type, weights.data(), blocks.data(), 0, rows, columns, nullptr); };
    print(std::string("quantize ") + name, best_of(3, pass));
}

} // namespace

int main() {
    ggml_cpu_init();
    std::vector<float> weights(rows * columns);
    for (size_t i = 0; i < weights.size(); i++) {
        weights[i] = 0.05f * std::sin(0.618f * float(i));
    }
    for (int threads = 1; threads <= 2; threads++) {
        products(GGML_TYPE_TQ2_0, "TQ2_0", weights, threads);
        products(GGML_TYPE_TQ1_0, "TQ1_0", weights, threads);
        products(GGML_TYPE_Q2_0, "Q2_0", weights, threads);
        products(GGML_TYPE_Q4_K, "Q4_K", weights, threads);
        products(GGML_TYPE_F32, "F32", weights, threads);
    }
    quantize(GGML_TYPE_TQ2_0, "TQ2_0", weights);
    quantize(GGML_TYPE_TQ1_0, "TQ1_0", weights);
    quantize(GGML_TYPE_Q2_0, "Q2_0", weights);
}
