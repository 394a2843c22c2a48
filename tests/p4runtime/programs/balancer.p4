#include <core.p4>
#include <v1model.p4>

header flow_t {
    bit<8> service;
    bit<8> client;
    bit<16> number;
    bit<16> given;
}

struct headers_t {
    flow_t flow;
}

struct metadata_t { }

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.flow);
        transition accept;
    }
}

control verify_checksums(inout headers_t hdr, inout metadata_t meta) {
    apply { }
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action forward(bit<9> port, bit<16> given) {
        std.egress_spec = port;
        hdr.flow.given = given;
    }
    action refuse() {
        mark_to_drop(std);
    }
    @max_group_size(6) action_selector(HashAlgorithm.crc32, 32, 16) servers;
    action_profile(3) routes;
    table balance {
        key = { hdr.flow.service: exact; hdr.flow.client: selector; hdr.flow.number: selector; }
        actions = { forward; refuse; }
        implementation = servers;
    }
    table plain {
        key = { hdr.flow.service: exact; }
        actions = { forward; refuse; }
        implementation = routes;
    }
    apply {
        std.egress_spec = 8;
        if (!balance.apply().hit) {
            plain.apply();
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply { }
}

control compute_checksums(inout headers_t hdr, inout metadata_t meta) {
    apply { }
}

control deparse(packet_out packet, in headers_t hdr) {
    apply { packet.emit(hdr); }
}

V1Switch(parse(), verify_checksums(), ingress(), egress(), compute_checksums(), deparse()) main;
