// SPDX-License-Identifier: Apache-2.0
#include "ctrl/intent/vrf_json.h"

#include "ctrl/intent/port_json.h"
#include "ctrl/rpc/json_text.h"

namespace slash32 {

using rpc::Count;
using rpc::Fields;
using rpc::Json;
using rpc::Length;
using rpc::Name;
using rpc::Path;
using rpc::Range;

Json to_json(const VrfIntent& vrf) {
    return {
        {"vrf", vrf.id.value()}, {"name", vrf.name}, {"labels", vrf.labels}, {"owner", vrf.owner}};
}

void read_vrf(Fields& fields, VrfIntent& out) {
    uint16_t number = 0;
    fields.required("vrf", number, Range{1, kMaxVrfs - 1})
        .optional("name", out.name, Length{0, kVrfNameMax})
        .optional("labels", out.labels, Count{0, kMaxLabels})
        .optional("owner", out.owner, Name{});
    out.id = VrfId{number};
}

Result<VrfIntent> parse_vrf(const std::string& text) {
    const Result<Json> json = rpc::parse_json(text);
    if (!json) return tl::unexpected(json.error());
    const Path path("$");
    Fields fields(*json, path);
    VrfIntent vrf;
    read_vrf(fields, vrf);
    if (auto ok = fields.done(); !ok) return tl::unexpected(ok.error());
    return vrf;
}

}  // namespace slash32
