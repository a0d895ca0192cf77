import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import * as c from "../../src/ffi/constants.ts";
import { messagesOf, type WireMessage } from "../../src/ffi/libnl/wire.ts";
import { decodeEvent } from "../../src/kernel/decode.ts";
import type { KernelEvent } from "../../src/kernel/state.ts";
import * as packet from "../ffi/packets.ts";
import { address, mac, prefix } from "../net/values.ts";

const { attribute, u8, u16, u32, text } = packet;

function decode(type: number, payload: number[], flags = 0): KernelEvent | undefined {
  return decodeEvent({ type, flags, sequence: 0, payload: Uint8Array.from(payload) });
}

/** struct ifinfomsg */
const link = (family: number, index: number, flags: number, ...attributes: number[][]) => [
  family,
  0,
  ...u16(1),
  ...u32(index),
  ...u32(flags),
  ...u32(0),
  ...attributes.flat(),
];
/** struct ifaddrmsg */
const interfaceAddress = (family: number, length: number, flags: number, index: number, ...attributes: number[][]) => [
  family,
  length,
  flags,
  0,
  ...u32(index),
  ...attributes.flat(),
];
/** struct rtmsg */
const route = (
  { family = c.AF_INET, length = 24, tos = 0, table = 254, protocol = 112, type = 1, flags = 0 },
  ...attributes: number[][]
) => [family, length, 0, tos, table, protocol, 0, type, ...u32(flags), ...attributes.flat()];
/** struct ndmsg */
const neighbour = (family: number, index: number, state: number, ...attributes: number[][]) => {
  const flags = family === c.AF_BRIDGE ? c.NTF_SELF : 0;
  return [family, 0, 0, 0, ...u32(index), ...u16(state), flags, 0, ...attributes.flat()];
};

const V4 = [198, 18, 0, 1];
const V6 = [0xfd, ...new Array<number>(14).fill(0), 1];
const MAC = [2, 4, 0, 0, 0, 1];

describe("a link", () => {
  const vxlan = attribute(c.IFLA_LINKINFO, [
    ...attribute(c.IFLA_INFO_KIND, text("vxlan")),
    ...attribute(c.IFLA_INFO_DATA, [
      ...attribute(c.IFLA_VXLAN_ID, u32(4096)),
      ...attribute(c.IFLA_VXLAN_LINK, u32(2)),
      ...attribute(c.IFLA_VXLAN_LOCAL, V4),
      ...attribute(c.IFLA_VXLAN_LEARNING, u8(1)),
      ...attribute(c.IFLA_VXLAN_PORT, [0x21, 0x18]),
      ...attribute(c.IFLA_VXLAN_GBP, []),
    ]),
  ]);

  test("comes with its options", () => {
    const payload = link(
      c.AF_UNSPEC,
      7,
      c.IFF_UP,
      attribute(c.IFLA_IFNAME, text("flannel.1")),
      attribute(c.IFLA_MTU, u32(1450)),
      attribute(c.IFLA_ADDRESS, MAC),
      attribute(c.IFLA_IFALIAS, text("tartan")),
      vxlan,
    );
    const value = {
      index: 7,
      name: "flannel.1",
      kind: "vxlan",
      alias: "tartan",
      mac: mac("02:04:00:00:00:01"),
      mtu: 1450,
      up: true,
      vxlan: {
        vni: 4096,
        port: 8472,
        local: address("198.18.0.1"),
        underlay: 2,
        group: undefined,
        learning: true,
        gbp: true,
        l2miss: false,
      },
    };
    expect(decode(c.RTM_NEWLINK, payload)).toEqual({ kind: "link", deleted: false, value });
    expect(decode(c.RTM_DELLINK, payload)).toEqual({ kind: "link", deleted: true, value });
  });

  test("without an Ethernet address, a kind and options is one all the same", () => {
    const loopback = link(c.AF_UNSPEC, 1, 0, attribute(c.IFLA_IFNAME, text("tunl0")), attribute(c.IFLA_ADDRESS, V4));
    expect(decode(c.RTM_NEWLINK, loopback)?.value).toEqual({
      index: 1,
      name: "tunl0",
      kind: "",
      alias: "",
      mac: undefined,
      mtu: 0,
      up: false,
      vxlan: undefined,
    });
  });

  test("of another family is a bridge's port, not the link", () => {
    expect(decode(c.RTM_NEWLINK, link(c.AF_BRIDGE, 7, 0))).toBeUndefined();
  });
});

describe("an address", () => {
  test("is this end's of a point-to-point link, with the wide flags", () => {
    const payload = interfaceAddress(
      c.AF_INET,
      32,
      0,
      7,
      attribute(c.IFA_ADDRESS, [198, 18, 0, 9]),
      attribute(c.IFA_LOCAL, V4),
      attribute(c.IFA_FLAGS, u32(c.IFA_F_PERMANENT | 0x100)),
    );
    expect(decode(c.RTM_DELADDR, payload)).toEqual({
      kind: "address",
      deleted: true,
      value: {
        index: 7,
        family: 4,
        address: address("198.18.0.1"),
        length: 32,
        deprecated: false,
        duplicate: false,
        permanent: true,
        temporary: false,
      },
    });
  });

  test("of IPv6 has no local part; without wide flags the narrow ones count", () => {
    const flags = c.IFA_F_DEPRECATED | c.IFA_F_TEMPORARY;
    expect(decode(c.RTM_NEWADDR, interfaceAddress(c.AF_INET6, 64, flags, 7, attribute(c.IFA_ADDRESS, V6)))).toEqual({
      kind: "address",
      deleted: false,
      value: {
        index: 7,
        family: 6,
        address: address("fd00::1"),
        length: 64,
        deprecated: true,
        duplicate: false,
        permanent: false,
        temporary: true,
      },
    });
  });

  test("of another family, or none at all, is left out", () => {
    expect(decode(c.RTM_NEWADDR, interfaceAddress(28, 32, 0, 7, attribute(c.IFA_ADDRESS, V4)))).toBeUndefined();
    expect(decode(c.RTM_NEWADDR, interfaceAddress(c.AF_INET, 32, 0, 7))).toBeUndefined();
    expect(
      decode(c.RTM_NEWADDR, interfaceAddress(c.AF_INET, 32, 0, 7, attribute(c.IFA_LOCAL, [1, 2]))),
    ).toBeUndefined();
  });
});

describe("a route", () => {
  const to = attribute(c.RTA_DST, [10, 244, 2, 0]);
  const via = attribute(c.RTA_GATEWAY, [10, 244, 2, 0]);
  const device = attribute(c.RTA_OIF, u32(7));
  const ours = {
    family: 4 as const,
    destination: prefix("10.244.2.0/24"),
    gateway: address("10.244.2.0"),
    index: 7,
    onlink: true,
    protocol: 112,
    type: 1,
    priority: 0,
    tos: 0,
  };

  test.each<[number, "first" | "replace" | "last"]>([
    [0, "first"],
    [c.NLM_F_CREATE | c.NLM_F_EXCL, "first"],
    [c.NLM_F_CREATE | c.NLM_F_REPLACE, "replace"],
    [c.NLM_F_CREATE | c.NLM_F_APPEND, "last"],
  ])("with the flags %d stands %s", (flags, place) => {
    const payload = route({ flags: c.RTNH_F_ONLINK }, to, via, device);
    expect(decode(c.RTM_NEWROUTE, payload, flags)).toEqual({ kind: "route", deleted: false, place, value: ours });
  });

  test("to everywhere has no destination attribute", () => {
    const payload = route({ length: 0 }, attribute(c.RTA_PRIORITY, u32(100)), device);
    expect(decode(c.RTM_DELROUTE, payload)).toMatchObject({
      deleted: true,
      value: { destination: prefix("0.0.0.0/0"), gateway: undefined, priority: 100 },
    });
    expect(decode(c.RTM_NEWROUTE, route({ family: c.AF_INET6, length: 0 }, device))?.value).toMatchObject({
      destination: prefix("::/0"),
    });
  });

  test("without a device, of another type, with a TOS keeps what it has", () => {
    expect(decode(c.RTM_NEWROUTE, route({ type: 6, tos: 8 }, to))?.value).toMatchObject({
      index: 0,
      type: 6,
      tos: 8,
      onlink: false,
    });
  });

  test.each<[string, number[]]>([
    ["of another table by its header", route({ table: 255 }, to)],
    ["of another table by its attribute", route({ table: 252 }, to, attribute(c.RTA_TABLE, u32(1000)))],
    ["that is a cached one", route({ flags: c.RTM_F_CLONED }, to)],
    ["of another family", route({ family: 28 }, to)],
    ["whose destination is of the other family", route({}, attribute(c.RTA_DST, V6))],
    ["longer than an address", route({ length: 33 }, to)],
    ["of IPv6 longer than an address", route({ family: c.AF_INET6, length: 129 }, attribute(c.RTA_DST, V6))],
    ["with half a header", route({}).slice(0, 11)],
  ])("%s is left out", (_, payload) => {
    expect(decode(c.RTM_NEWROUTE, payload)).toBeUndefined();
  });

  test("of the main table by its attribute is followed", () => {
    const payload = route({ table: 252 }, to, attribute(c.RTA_TABLE, u32(254)));
    expect(decode(c.RTM_NEWROUTE, payload)?.value).toMatchObject({ destination: prefix("10.244.2.0/24") });
  });
});

describe("a neighbour", () => {
  test.each([
    [c.NUD_PERMANENT, true],
    [0x02, false],
    [0x20, false],
  ])("in the state %d is permanent: %p", (state, permanent) => {
    const payload = neighbour(c.AF_INET, 7, state, attribute(c.NDA_DST, V4), attribute(c.NDA_LLADDR, MAC));
    expect(decode(c.RTM_NEWNEIGH, payload)).toEqual({
      kind: "neighbour",
      deleted: false,
      value: { index: 7, address: address("198.18.0.1"), mac: mac("02:04:00:00:00:01"), permanent },
    });
  });

  test("that is not resolved has no MAC", () => {
    expect(decode(c.RTM_DELNEIGH, neighbour(c.AF_INET6, 7, 0x20, attribute(c.NDA_DST, V6)))).toEqual({
      kind: "neighbour",
      deleted: true,
      value: { index: 7, address: address("fd00::1"), mac: undefined, permanent: false },
    });
  });

  test("without an address is left out", () => {
    expect(decode(c.RTM_NEWNEIGH, neighbour(c.AF_INET, 7, 2, attribute(c.NDA_LLADDR, MAC)))).toBeUndefined();
    expect(decode(c.RTM_NEWNEIGH, neighbour(28, 7, 2, attribute(c.NDA_DST, V4)))).toBeUndefined();
  });
});

describe("a forwarding entry", () => {
  const lladdr = attribute(c.NDA_LLADDR, MAC);
  const entry = { index: 7, mac: mac("02:04:00:00:00:01"), permanent: true, special: false };

  test("points from a MAC to an address", () => {
    const payload = neighbour(c.AF_BRIDGE, 7, c.NUD_PERMANENT, lladdr, attribute(c.NDA_DST, V4));
    const value = { ...entry, destination: address("198.18.0.1") };
    expect(decode(c.RTM_NEWNEIGH, payload)).toEqual({ kind: "forwarding", deleted: false, value });
    expect(decode(c.RTM_DELNEIGH, payload)).toEqual({ kind: "forwarding", deleted: true, value });
  });

  test("that was learnt is not permanent", () => {
    const payload = neighbour(c.AF_BRIDGE, 7, 0x02, lladdr, attribute(c.NDA_DST, V6));
    expect(decode(c.RTM_NEWNEIGH, payload)?.value).toMatchObject({ permanent: false, destination: address("fd00::1") });
  });

  test.each([c.NDA_PORT, c.NDA_VNI, c.NDA_IFINDEX, c.NDA_NH_ID])("with the attribute %d is special", (type) => {
    const payload = neighbour(c.AF_BRIDGE, 7, c.NUD_PERMANENT, lladdr, attribute(type, u32(9)));
    expect(decode(c.RTM_NEWNEIGH, payload)?.value).toEqual({ ...entry, destination: undefined, special: true });
  });

  test("of a bridge whose port the device is, is left out", () => {
    const payload = neighbour(c.AF_BRIDGE, 7, c.NUD_PERMANENT, lladdr);
    expect(decode(c.RTM_NEWNEIGH, payload.with(10, 0))).toBeUndefined();
  });

  test("without a MAC is left out", () => {
    expect(decode(c.RTM_NEWNEIGH, neighbour(c.AF_BRIDGE, 7, 2, attribute(c.NDA_DST, V4)))).toBeUndefined();
  });
});

test("other messages say nothing that we follow", () => {
  for (const type of [0, c.NLMSG_ERROR, c.NLMSG_DONE, c.RTM_GETLINK, c.RTM_GETNEIGH, 36, 104]) {
    expect(decode(type, new Array<number>(64).fill(1))).toBeUndefined();
  }
});

describe("arbitrary bytes", () => {
  const TYPES = [
    c.RTM_NEWLINK,
    c.RTM_DELLINK,
    c.RTM_NEWADDR,
    c.RTM_DELADDR,
    c.RTM_NEWROUTE,
    c.RTM_DELROUTE,
    c.RTM_NEWNEIGH,
    c.RTM_DELNEIGH,
  ];
  const anyType = fc.oneof(fc.constantFrom(...TYPES), fc.nat(0xffff));
  const anyBytes = fc.array(fc.nat(255), { maxLength: 24 });
  /** Values of the lengths that the decoders look for get further than random ones. */
  const anyValue = fc.oneof(
    anyBytes,
    ...[0, 1, 2, 4, 6, 16].map((length) => fc.array(fc.nat(255), { minLength: length, maxLength: length })),
  );
  const anyAttributes = fc
    .array(fc.tuple(fc.nat(30), fc.oneof(anyValue, anyBytes)), { maxLength: 8 })
    .map((list) => list.flatMap(([type, value]) => attribute(type, value)));
  const anyHeader = fc
    .tuple(
      fc.constantFrom(c.AF_UNSPEC, c.AF_INET, c.AF_INET6, c.AF_BRIDGE),
      fc.constantFrom(8, 12, 16),
      fc.array(fc.nat(255), { minLength: 15, maxLength: 15 }),
      fc.boolean(),
    )
    .map(([family, length, rest, main]) => {
      const header = [family, ...rest].slice(0, length);
      if (main) header[4] = c.RT_TABLE_MAIN;
      return header;
    });
  const anyPayload = fc.oneof(
    anyBytes,
    fc.tuple(anyHeader, anyAttributes).map(([header, attributes]) => [...header, ...attributes]),
    fc
      .tuple(anyHeader, anyAttributes, anyAttributes)
      .map(([header, info, data]) => [
        ...header,
        ...attribute(c.IFLA_LINKINFO, [
          ...attribute(c.IFLA_INFO_KIND, text("vxlan")),
          ...info,
          ...attribute(c.IFLA_INFO_DATA, data),
        ]),
      ]),
  );

  test("never throw", () => {
    fc.assert(
      fc.property(anyType, fc.nat(0xffff), anyPayload, (type, flags, payload) => {
        const event = decode(type, payload, flags);
        if (event?.kind === "route") expect(event.value.destination.length).toBeLessThanOrEqual(128);
      }),
      { numRuns: 10_000 },
    );
  });

  test("never throw as whole datagrams", () => {
    const anyMessage = fc.tuple(anyType, anyPayload).map(([type, payload]) => packet.message(type, payload));
    fc.assert(
      fc.property(fc.array(anyMessage, { maxLength: 4 }), fc.nat(600), fc.nat(255), (messages, at, byte) => {
        const bytes = packet.datagram(...messages);
        if (at < bytes.length) bytes[at] = byte;
        const seen: WireMessage[] = [...messagesOf(bytes)];
        for (const message of seen) decodeEvent(message);
        if (at >= bytes.length) expect(seen).toHaveLength(messages.length);
      }),
      { numRuns: 3_000 },
    );
  });
});
