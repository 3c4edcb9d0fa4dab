// SPDX-License-Identifier: Apache-2.0
// Random requests against a model that is too simple to be wrong: after each, the plane, the memory
// and, after a restart, the store hold exactly what the model holds.
#include "tests/unit/ctrl/intent/router.h"

#include <map>
#include <random>

namespace slash32 {
namespace {

struct Model {
    struct Port {
        std::string owner;
        std::string socket;
        std::set<std::string> addresses;
    };
    struct Route {
        std::string owner;
        std::string port;  // "" is a blackhole
    };
    std::map<std::string, Port> ports;
    std::map<std::string, Route> routes;  // by address, host routes only

    // Whether what it holds may stand together.
    bool sound() const {
        std::set<std::string> addresses;
        std::set<std::string> sockets;
        for (const auto& [name, port] : ports) {
            if (!sockets.insert(port.socket).second) return false;
            for (const std::string& address : port.addresses) {
                if (!addresses.insert(address).second || routes.contains(address)) return false;
            }
        }
        for (const auto& [address, route] : routes) {
            if (!route.port.empty() && !ports.contains(route.port)) return false;
        }
        return true;
    }
    std::string text() const {
        std::string out;
        for (const auto& [name, port] : ports) {
            out += name + " " + port.owner + " " + port.socket;
            for (const std::string& address : port.addresses)
                out += " " + address;
            out += "\n";
        }
        for (const auto& [address, route] : routes) {
            out += address + " " + route.owner + " " + route.port + "\n";
        }
        return out;
    }
};

std::string memory_text(State& state) {
    Model model;
    state.ports.visit_all([&](uint16_t, const PortSlot& slot) {
        if (!slot.record) return;
        Model::Port port{owner_of(slot), slot.record->intent.socket, {}};
        for (const FixedAddress& fixed : slot.record->intent.addresses) {
            port.addresses.insert(to_string(fixed.address));
        }
        model.ports[slot.name] = port;
    });
    state.routes.visit_all([&](const RouteKey& key, RouteValue value) {
        if (value.origin_port != 0) return true;
        const HopSpec& hop = state.hops.spec(value.hop);
        const bool is_port = hop.kind == NextHopSpec::Kind::kPort;
        model.routes[to_string(key.prefix.address)] = {
            state.owners.name(value.owner), is_port ? state.ports.at(hop.port).name : ""};
        return true;
    });
    return model.text();
}

std::string plane_text(const FakePlane& plane, const Model& owners) {
    Model model;
    for (const auto& [id, intent] : plane.ports) {
        Model::Port port{intent.owner, intent.socket, {}};
        for (const FixedAddress& fixed : intent.addresses) {
            port.addresses.insert(to_string(fixed.address));
        }
        model.ports[intent.name] = port;
    }
    for (const auto& [key, hop] : plane.routes) {
        const NextHopSpec& spec = plane.hops.at(hop);
        const std::string address = to_string(key.second.address);
        const auto owner = owners.routes.find(address);  // the plane knows none
        model.routes[address] = {
            owner != owners.routes.end() ? owner->second.owner : "?",
            spec.kind == NextHopSpec::Kind::kPort ? plane.ports.at(spec.port).name : ""};
    }
    return model.text();
}

class Player {
  public:
    explicit Player(uint32_t seed) : random_(seed) {}

    void play(Router& router, Model& model) {
        const std::string owner = random_() % 2 == 0 ? "cli" : "neutron";
        switch (random_() % 8) {
            case 0:
            case 1:
                return apply_port(router, model, owner);
            case 2:
                return delete_port(router, model, owner);
            case 3:
            case 4:
                return apply_routes(router, model, owner);
            case 5:
                return delete_routes(router, model, owner);
            default:
                return sync(router, model, owner);
        }
    }

  private:
    std::string some_port() { return fmt::format("vm{}", random_() % 6); }
    std::string some_address() {
        const auto host = random_() % 12;
        return host < 6 ? fmt::format("10.0.0.{}", host) : fmt::format("2001:db8::{}", host);
    }
    PortApply make_port(const std::string& owner) {
        PortApply port = vm(some_port(), {}, owner);
        if (random_() % 3 == 0) port.intent.socket = "/run/vm/" + some_port();
        std::set<std::string> addresses;
        for (auto n = random_() % 3; n > 0; --n)
            addresses.insert(some_address());
        for (const std::string& address : addresses)
            port.intent.addresses.push_back(fixed(address));
        return port;
    }
    static Model::Port model_of(const PortApply& port) {
        Model::Port out{port.intent.owner, port.intent.socket, {}};
        for (const FixedAddress& fixed : port.intent.addresses) {
            out.addresses.insert(to_string(fixed.address));
        }
        return out;
    }

    void expect(const Result<Done>& done, bool allowed, const Model& after, Model& model) {
        EXPECT_EQ(done.has_value(), allowed) << text(done);
        if (allowed) model = after;
    }

    void apply_port(Router& router, Model& model, const std::string& owner) {
        PortApply port = make_port(owner);
        port.force = random_() % 4 == 0;
        Model after = model;
        const auto held = model.ports.find(port.intent.name);
        const bool mine = held == model.ports.end() || held->second.owner == owner || port.force;
        after.ports[port.intent.name] = model_of(port);
        expect(router.ask(port), mine && after.sound(), after, model);
    }

    void delete_port(Router& router, Model& model, const std::string& owner) {
        const PortDelete request{some_port(), owner, random_() % 3 == 0};
        Model after = model;
        const auto held = model.ports.find(request.name);
        bool allowed = held != model.ports.end();
        if (allowed) {
            allowed = held->second.owner == owner || request.force;
            after.ports.erase(request.name);
            if (request.force) {
                std::erase_if(after.routes,
                              [&](const auto& entry) { return entry.second.port == request.name; });
            }
        }
        expect(router.ask(request), allowed && after.sound(), after, model);
    }

    void apply_routes(Router& router, Model& model, const std::string& owner) {
        std::set<std::string> addresses;
        for (auto n = 1 + random_() % 3; n > 0; --n)
            addresses.insert(some_address());
        const std::string port = random_() % 3 == 0 ? "" : some_port();
        RouteApply request = route_set({addresses.begin(), addresses.end()},
                                       port.empty() ? HopRequest{} : over(port), owner);
        request.force = random_() % 4 == 0;
        Model after = model;
        bool allowed = true;
        for (const std::string& address : addresses) {
            const auto held = model.routes.find(address);
            if (held != model.routes.end() && held->second.owner != owner && !request.force) {
                allowed = false;
            }
            after.routes[address] = {owner, port};
        }
        expect(router.ask(request), allowed && after.sound(), after, model);
    }

    void delete_routes(Router& router, Model& model, const std::string& owner) {
        const std::string address = some_address();
        Model after = model;
        const auto held = model.routes.find(address);
        bool allowed = held == model.routes.end() || held->second.owner == owner;
        for (const auto& [name, port] : model.ports)
            allowed = allowed && !port.addresses.contains(address);
        after.routes.erase(address);
        expect(router.ask(route_gone({address}, owner)), allowed, after, model);
    }

    void sync(Router& router, Model& model, const std::string& owner) {
        SyncSet set;
        set.owner = owner;
        Model after = model;
        std::erase_if(after.ports, [&](const auto& entry) { return entry.second.owner == owner; });
        std::erase_if(after.routes, [&](const auto& entry) { return entry.second.owner == owner; });
        bool allowed = true;
        for (auto n = random_() % 5; n > 0; --n) {
            const PortApply port = make_port(owner);
            const auto held = model.ports.find(port.intent.name);
            allowed = allowed && (held == model.ports.end() || held->second.owner == owner);
            ASSERT_TRUE(set.stage(port).has_value());
            after.ports[port.intent.name] = model_of(port);
        }
        for (auto n = random_() % 4; n > 0; --n) {
            const std::string address = some_address();
            const std::string port = random_() % 3 == 0 ? "" : some_port();
            const auto held = model.routes.find(address);
            allowed = allowed && (held == model.routes.end() || held->second.owner == owner);
            ASSERT_TRUE(
                set.stage(route_set({address}, port.empty() ? HopRequest{} : over(port), owner))
                    .has_value());
            after.routes[address] = {owner, port};
        }
        const bool force = random_() % 4 == 0 && allowed;
        if (force) {
            std::erase_if(after.routes, [&](const auto& entry) {
                const auto& [address, route] = entry;
                return route.owner != owner && !route.port.empty() &&
                       !after.ports.contains(route.port);
            });
        }
        expect(router.commit(set, force), allowed && after.sound(), after, model);
    }

    std::mt19937 random_;
};

class RandomRequests : public testing::TestWithParam<uint32_t> {};

TEST_P(RandomRequests, LeavePlaneMemoryAndStoreAsTheModel) {
    TempDir dir;
    Player player(GetParam());
    Model model;
    for (int life = 0; life < 4; ++life) {
        Router router(dir.file("intent.db"), 0, false);
        ASSERT_EQ(memory_text(router.state()), model.text());
        ASSERT_EQ(plane_text(router.plane, model), model.text());
        for (int step = 0; step < 150; ++step) {
            player.play(router, model);
            ASSERT_EQ(memory_text(router.state()), model.text()) << step;
            ASSERT_EQ(plane_text(router.plane, model), model.text()) << step;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomRequests, testing::Range(1u, 9u));

}  // namespace
}  // namespace slash32
