// SPDX-License-Identifier: Apache-2.0
// worker.stages, and what stats shows of it.
#include "tests/unit/ctrl/api/fakes.h"

namespace slash32 {
namespace {

using rpc::Json;

TEST_F(ApiTest, StagesAreSwitchedAndShownOnceEveryWorkerKnows) {
    const auto worker = [this] {
        return call("stats", R"({"sections":["workers"]})")["workers"][0];
    };
    EXPECT_EQ(worker()["stages_enabled"], false);
    EXPECT_FALSE(worker().contains("stages"));
    std::optional<Json> answer;
    start("worker.stages", {{"enabled", true}}, answer);
    ASSERT_TRUE(telemetry.stages_done);
    EXPECT_FALSE(answer) << "answered before a worker knew";
    telemetry.stages_done();
    EXPECT_EQ(answer, Json::parse(R"({"enabled":true,"sampling":64})"));
    EXPECT_EQ(worker()["stages_enabled"], true);
    EXPECT_EQ(worker()["stages"], Json::parse(R"([
        {"name":"receive","cycles":640,"packets":4,"bursts":2},
        {"name":"parse","cycles":320,"packets":3,"bursts":2}])"));
    start("worker.stages", {{"enabled", false}}, answer);
    telemetry.stages_done();
    EXPECT_EQ((*answer)["enabled"], false);
    EXPECT_EQ(worker()["stages_enabled"], false);
}

}  // namespace
}  // namespace slash32
