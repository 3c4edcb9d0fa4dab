// SPDX-License-Identifier: Apache-2.0
#include "drivers/flow_offload/flow_offload.h"

#include <rte_errno.h>
#include <rte_flow.h>

#include <algorithm>

namespace slash32 {
namespace {

constexpr rte_flow_attr kReceived = [] {
    rte_flow_attr attributes{};
    attributes.ingress = 1;
    return attributes;
}();

std::string reason_of(const rte_flow_error& error) {
    const std::string code = rte_strerror(rte_errno);
    return error.message == nullptr ? code : std::string(error.message) + " (" + code + ")";
}

// Validated first, as drivers differ in what a refused rule leaves behind. nullptr: refused, `why`.
rte_flow* ask(uint16_t device, const OffloadTask& task, uint16_t queue, std::string& why) {
    const FlowPattern pattern(task.match);
    const rte_flow_action_queue to{.index = queue};
    const bool drop = task.purpose == OffloadPurpose::kDropSource;
    const rte_flow_action actions[] = {
        {.type = drop ? RTE_FLOW_ACTION_TYPE_DROP : RTE_FLOW_ACTION_TYPE_QUEUE,
         .conf = drop ? nullptr : &to},
        {.type = RTE_FLOW_ACTION_TYPE_END, .conf = nullptr}};
    rte_flow_error error{};
    rte_flow* flow = nullptr;
    if (rte_flow_validate(device, &kReceived, pattern.items(), actions, &error) == 0)
        flow = rte_flow_create(device, &kReceived, pattern.items(), actions, &error);
    if (flow == nullptr) why = reason_of(error);
    return flow;
}

}  // namespace

std::string FlowOffload::refusal_to_steer(uint16_t device) {
    std::string first;
    for (const OffloadTask& task : offload_tasks()) {
        if (task.purpose != OffloadPurpose::kControl) continue;
        std::string why;
        if (rte_flow* flow = ask(device, task, 0, why)) {
            rte_flow_error error{};
            rte_flow_destroy(device, flow, &error);
            return {};
        }
        if (first.empty()) first = why;
    }
    return first;
}

FlowOffload::FlowOffload(uint16_t device, std::optional<uint16_t> control_queue,
                         const std::string& no_queue)
    : device_(device) {
    for (const OffloadTask& task : offload_tasks()) {
        OffloadRule rule{.name = task.name, .hardware = false, .reason = no_queue};
        if (task.purpose == OffloadPurpose::kDropSource || control_queue) {
            rule.reason.clear();
            if (rte_flow* flow = ask(device, task, control_queue.value_or(0), rule.reason)) {
                flows_.push_back(flow);
                rule.hardware = true;
            }
        }
        rules_.push_back(std::move(rule));
    }
}

FlowOffload::~FlowOffload() {
    for (rte_flow* flow : flows_) {
        rte_flow_error error{};
        rte_flow_destroy(device_, flow, &error);
    }
}

std::vector<OffloadRule> FlowOffload::none(const std::string& reason) {
    std::vector<OffloadRule> rules;
    for (const OffloadTask& task : offload_tasks())
        rules.push_back({.name = task.name, .hardware = false, .reason = reason});
    return rules;
}

}  // namespace slash32
