import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { chooseExternalInterface, NoInterfaceError, type WantedInterface } from "../../src/config/choose-interface.ts";
import type { HostAddress, HostInterface, HostInventory } from "../../src/config/interface.ts";
import { usableAddresses } from "../../src/config/usable-addresses.ts";
import { type Address, familyOf, parseAddress } from "../../src/net/address.ts";
import type { Family, PerFamily } from "../../src/net/family.ts";

function ip(text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
}

/** `10.0.0.1`, with marks behind it: `!` deprecated, `~` not permanent, `?` temporary, `=` of another host. */
function hostAddress(text: string): HostAddress {
  const address = ip(text.replace(/[!~?=]+$/, ""));
  return {
    family: familyOf(address),
    address,
    deprecated: text.includes("!"),
    duplicate: text.includes("="),
    permanent: !text.includes("~"),
    temporary: text.includes("?"),
  };
}

function host(devices: Record<string, string[]>, routes: PerFamily<string> = {}): HostInventory {
  const interfaces = Object.entries(devices).map(
    ([name, addresses], at): HostInterface => ({
      index: at + 1,
      name,
      mtu: name === "lo" ? 65536 : 1500,
      addresses: addresses.map(hostAddress),
    }),
  );
  const indexOf = (name: string) => interfaces.find((one) => one.name === name)?.index ?? 99;
  const defaultRoutes: PerFamily<number> = {};
  if (routes[4] !== undefined) defaultRoutes[4] = indexOf(routes[4]);
  if (routes[6] !== undefined) defaultRoutes[6] = indexOf(routes[6]);
  return { interfaces, defaultRoutes };
}

const HOST = host(
  {
    lo: ["127.0.0.1", "::1"],
    eth0: ["192.168.1.5", "192.168.1.6", "fe80::5", "2001:db8::5"],
    eth1: ["10.0.0.5!", "10.0.0.6", "2001:db8:1::6"],
    empty: [],
    docker0: ["172.17.0.1"],
    "flannel.1": ["10.244.1.0"],
    "flannel-v6.1": ["fd00:1::"],
  },
  { 4: "eth0", 6: "eth0" },
);

interface Wish {
  iface?: string[];
  regex?: string[];
  public4?: string;
  public6?: string;
  reach?: string;
}

function wanted({ iface = [], regex = [], public4, public6, reach }: Wish): WantedInterface {
  const publicIPs: PerFamily<Address> = {};
  if (public4 !== undefined) publicIPs[4] = ip(public4);
  if (public6 !== undefined) publicIPs[6] = ip(public6);
  return { iface, ifaceRegex: regex, ...(reach === undefined ? {} : { canReach: ip(reach) }), publicIPs };
}

/** `eth0 192.168.1.5`, and `as …` where another address is published. */
function choose(wish: Wish, families: Family[] = [4], inventory = HOST): string {
  const { name, addresses, publicIPs } = chooseExternalInterface(inventory, wanted(wish), families);
  const parts = families.map((family) => {
    const [source, published] = [addresses[family], publicIPs[family]];
    return source === published ? source : `${source} as ${published}`;
  });
  return [name, ...parts].join(" ");
}

/** The host, and what its kernel says of the way to some address. */
const towards = (way: HostInventory["towards"]): HostInventory => ({ ...HOST, ...(way && { towards: way }) });

describe("--iface-can-reach", () => {
  const ETH1 = { index: 3, local: false };

  test.each<[string, Wish, Family[], HostInventory["towards"], string]>([
    [
      "takes the interface and the kernel's source",
      { reach: "10.9.9.9" },
      [4],
      { ...ETH1, source: ip("10.0.0.6") },
      "eth1 10.0.0.6",
    ],
    ["even one that is deprecated", { reach: "10.9.9.9" }, [4], { ...ETH1, source: ip("10.0.0.5") }, "eth1 10.0.0.5"],
    ["without a source takes the first usable address", { reach: "10.9.9.9" }, [4], ETH1, "eth1 10.0.0.6"],
    ["of IPv6", { reach: "2001:db8:9::9" }, [6], { ...ETH1, source: ip("2001:db8:1::6") }, "eth1 2001:db8:1::6"],
    [
      "in dual stack",
      { reach: "10.9.9.9" },
      [4, 6],
      { ...ETH1, source: ip("10.0.0.6") },
      "eth1 10.0.0.6 2001:db8:1::6",
    ],
    ["comes after names", { reach: "10.9.9.9", iface: ["docker0"] }, [4], ETH1, "docker0 172.17.0.1"],
    ["comes after patterns", { reach: "10.9.9.9", regex: ["docker"] }, [4], ETH1, "docker0 172.17.0.1"],
    ["counts when neither fits", { reach: "10.9.9.9", iface: ["eth9"], regex: ["x"] }, [4], ETH1, "eth1 10.0.0.6"],
    [
      "goes before the default route",
      { reach: "10.9.9.9", public4: "203.0.113.9" },
      [4],
      ETH1,
      "eth1 10.0.0.6 as 203.0.113.9",
    ],
  ])("%s", (_, wish, families, way, expected) => {
    expect(choose(wish, families, towards(way))).toBe(expected);
  });

  test.each<[string, Wish, Family[], HostInventory["towards"], string]>([
    [
      "no way",
      { reach: "10.9.9.9" },
      [4],
      new Error("look up the route to 10.9.9.9: ENETUNREACH"),
      "ENETUNREACH. This host has",
    ],
    ["its own address", { reach: "10.0.0.6" }, [4], { index: 1, local: true }, "it is an address of this host"],
    [
      "the pod network",
      { reach: "10.244.1.5" },
      [4],
      { index: 99, local: false },
      "leads through the pod network itself",
    ],
    ["another family", { reach: "2001:db8::9" }, [4], ETH1, "the pod network has no IPv6"],
    [
      "an interface without address",
      { reach: "10.9.9.9" },
      [4],
      { index: 4, local: false },
      "interface empty has no usable IPv4 address",
    ],
  ])("refuses %s", (_, wish, families, way, expected) => {
    const refused = () => choose(wish, families, towards(way));
    expect(refused).toThrow(NoInterfaceError);
    expect(refused).toThrow(expected);
    expect(refused).toThrow("--iface-can-reach=");
  });
});

describe("chosen", () => {
  test.each<[string, Wish, Family[], string]>([
    ["the default route's interface", {}, [4], "eth0 192.168.1.5"],
    ["the same for IPv6, global before link-local", {}, [6], "eth0 2001:db8::5"],
    ["the same for both", {}, [4, 6], "eth0 192.168.1.5 2001:db8::5"],
    ["a name", { iface: ["eth1"] }, [4], "eth1 10.0.0.6"],
    ["a name for IPv6", { iface: ["eth1"] }, [6], "eth1 2001:db8:1::6"],
    ["an address, not the first", { iface: ["192.168.1.6"] }, [4], "eth0 192.168.1.6"],
    ["a deprecated address, asked for", { iface: ["10.0.0.5"] }, [4], "eth1 10.0.0.5"],
    ["an IPv6 address in another spelling", { iface: ["2001:DB8:0:0::5"] }, [6], "eth0 2001:db8::5"],
    ["an IPv6 address in dual stack", { iface: ["2001:db8:1::6"] }, [4, 6], "eth1 10.0.0.6 2001:db8:1::6"],
    ["by a link-local one", { iface: ["fe80::5"] }, [4, 6], "eth0 192.168.1.5 2001:db8::5"],
    ["the first that fits", { iface: ["eth9", "10.9.9.9", "empty", "eth1", "eth0"] }, [4], "eth1 10.0.0.6"],
    ["a name before a pattern", { iface: ["docker0"], regex: ["eth0"] }, [4], "docker0 172.17.0.1"],
    ["a pattern when no name fits", { iface: ["eth9"], regex: ["eth1"] }, [4], "eth1 10.0.0.6"],
    ["a pattern on addresses before names", { regex: ["^eth0|172"] }, [4], "docker0 172.17.0.1"],
    ["the address that the pattern matched", { regex: ["\\.6$"] }, [4], "eth0 192.168.1.6"],
    ["patterns in order", { regex: ["nothing", "^10\\.", "eth0"] }, [4], "eth1 10.0.0.6"],
    ["a pattern skips own devices", { regex: ["^10\\.244|^flannel", "docker"] }, [4], "docker0 172.17.0.1"],
    ["a pattern skips interfaces without address", { regex: ["^(lo|empty|eth1)$"] }, [4], "eth1 10.0.0.6"],
    [
      "a pattern in dual stack needs both addresses",
      { regex: ["^192\\.168|^172|^2001"] },
      [4, 6],
      "eth0 192.168.1.5 2001:db8::5",
    ],
    ["a pattern in dual stack, else the name", { regex: ["10\\.0|eth1"] }, [4, 6], "eth1 10.0.0.6 2001:db8:1::6"],
    ["--public-ip of an interface", { public4: "10.0.0.6" }, [4], "eth1 10.0.0.6"],
    ["--public-ip that nobody has", { public4: "203.0.113.9" }, [4], "eth0 192.168.1.5 as 203.0.113.9"],
    ["--public-ip beside a name", { iface: ["eth1"], public4: "203.0.113.9" }, [4], "eth1 10.0.0.6 as 203.0.113.9"],
    ["--public-ip, second address of the name", { iface: ["eth0"], public4: "192.168.1.6" }, [4], "eth0 192.168.1.6"],
    ["--public-ip on another interface", { iface: ["eth0"], public4: "172.17.0.1" }, [4], "eth0 172.17.0.1"],
    ["--public-ip in dual stack", { public4: "10.0.0.6" }, [4, 6], "eth1 10.0.0.6 2001:db8:1::6"],
    ["both public addresses", { public4: "10.0.0.6", public6: "2001:db8:1::6" }, [4, 6], "eth1 10.0.0.6 2001:db8:1::6"],
    [
      "both public addresses, one of which nobody has",
      { public4: "203.0.113.9", public6: "2001:db8:1::6" },
      [4, 6],
      "eth1 10.0.0.6 as 203.0.113.9 2001:db8:1::6",
    ],
    ["--public-ip of IPv6", { public6: "2001:db8:1::6" }, [6], "eth1 2001:db8:1::6"],
    ["--public-ip of a family that is not asked for", { public6: "2001:db8:1::6" }, [4], "eth0 192.168.1.5"],
  ])("%s", (_, wish, families, expected) => {
    expect(choose(wish, families)).toBe(expected);
  });

  test("with index and MTU", () => {
    expect(chooseExternalInterface(HOST, wanted({ iface: ["eth1"] }), [4]) as unknown).toEqual({
      index: 3,
      name: "eth1",
      mtu: 1500,
      addresses: { 4: "10.0.0.6" },
      publicIPs: { 4: "10.0.0.6" },
    });
  });
});

describe("the first usable address", () => {
  test.each<[string, string[], string | undefined]>([
    ["the kernel's order", ["10.0.0.2", "10.0.0.1"], "10.0.0.2"],
    ["not a deprecated one", ["10.0.0.1!", "10.0.0.2"], "10.0.0.2"],
    ["not one that another host has", ["10.0.0.1=", "10.0.0.2"], "10.0.0.2"],
    ["global before link-local", ["169.254.1.1", "10.0.0.1"], "10.0.0.1"],
    ["link-local rather than none", ["169.254.1.1"], "169.254.1.1"],
    ["set by hand before DHCP's", ["10.0.0.1~", "10.0.0.2"], "10.0.0.2"],
    ["primary before secondary", ["10.0.0.1?", "10.0.0.2"], "10.0.0.2"],
    ["global from DHCP before link-local by hand", ["169.254.1.1", "10.0.0.1~?"], "10.0.0.1"],
    ["DHCP's primary before DHCP's secondary", ["10.0.0.1~?", "10.0.0.2~"], "10.0.0.2"],
    [
      "no loopback, multicast, broadcast",
      ["127.0.0.1", "127.8.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0"],
      undefined,
    ],
    ["none", ["fe80::1"], undefined],
  ])("%s", (_, addresses, expected) => {
    const [eth0] = host({ eth0: addresses }).interfaces;
    expect(eth0 && usableAddresses(eth0, 4)[0]).toBe(expected as Address);
  });

  test("one that another host has is told as the cause", () => {
    const inventory = host({ eth0: ["2001:db8::2=", "fe80::1"] });
    const wanted = { iface: ["eth0"], ifaceRegex: [], publicIPs: {} };
    expect(() => chooseExternalInterface(inventory, wanted, [6])).toThrow(
      "no usable IPv6 address (only 2001:db8::2 of another host, fe80::1)",
    );
  });

  test("IPv6", () => {
    const [eth0] = host({ eth0: ["::1", "ff02::1", "fe80::1", "2001:db8::1?", "2001:db8::2~", "fd00::1"] }).interfaces;
    expect(eth0 && usableAddresses(eth0, 6)).toEqual(["fd00::1", "2001:db8::1", "2001:db8::2"].map(ip));
  });
});

describe("no interface", () => {
  const listed =
    ". This host has lo (127.0.0.1, ::1), eth0 (192.168.1.5, 192.168.1.6, fe80::5, 2001:db8::5; IPv4 default route; " +
    "IPv6 default route), eth1 (10.0.0.5, 10.0.0.6, 2001:db8:1::6), empty (no address), docker0 (172.17.0.1), " +
    "flannel.1 (10.244.1.0), flannel-v6.1 (fd00:1::)";
  const refusal = (wish: Wish, families: Family[] = [4], inventory = HOST) => {
    try {
      choose(wish, families, inventory);
    } catch (error) {
      if (error instanceof NoInterfaceError) return error.message;
      throw error;
    }
    throw new Error("chosen");
  };

  test("each attempt is told, and what there is", () => {
    expect(refusal({ iface: ["eth9", "10.9.9.9", "empty", "::1"], regex: ["^wlan", "^lo$"] })).toBe(
      "no interface to use: --iface=eth9: no interface has this name; --iface=10.9.9.9: no interface has this address; " +
        "--iface=empty: interface empty has no usable IPv4 address; --iface=::1: the pod network has no IPv6; " +
        "--iface-regex=^wlan: it matches no interface's address or name; " +
        `--iface-regex=^lo$: interface lo has no usable IPv4 address (only 127.0.0.1)${listed}`,
    );
  });

  test("a name that does not fit is no reason to take the default route's", () => {
    expect(refusal({ iface: ["eth9"], public4: "10.0.0.6" })).toContain("--iface=eth9: no interface has this name");
    expect(refusal({ regex: ["^flannel"] })).toContain("it matches no interface's address or name");
  });

  test.each<[string, HostInventory, Wish, Family[], string]>([
    [
      "no default route",
      host({ eth0: ["10.0.0.1"] }),
      {},
      [4],
      "default route: there is no IPv4 default route; name the interface with --iface. This host has eth0 (10.0.0.1), and no default route",
    ],
    [
      "none for a public address that nobody has",
      host({ eth0: ["10.0.0.1"] }),
      { public4: "203.0.113.9" },
      [4],
      "there is no IPv4 default route",
    ],
    [
      "a default route of an interface that is gone",
      host({ eth0: [] }, { 4: "eth9" }),
      {},
      [4],
      "no IPv4 default route",
    ],
    [
      "one family has no default route",
      host({ eth0: ["10.0.0.1", "fd00::1"] }, { 4: "eth0" }),
      {},
      [4, 6],
      "there is no IPv6 default route",
    ],
    [
      "two default routes",
      host({ eth0: ["10.0.0.1"], eth1: ["fd00::1"] }, { 4: "eth0", 6: "eth1" }),
      {},
      [4, 6],
      "the families' default routes use different interfaces, eth0 and eth1; name one with --iface",
    ],
    [
      "one family has no address",
      host({ eth0: ["10.0.0.1"] }, { 4: "eth0", 6: "eth0" }),
      {},
      [4, 6],
      "interface eth0 has no usable IPv6 address, and one interface has to serve both families",
    ],
    [
      "one family has only a link-local address",
      host({ eth0: ["10.0.0.1", "fe80::1"] }, { 4: "eth0", 6: "eth0" }),
      {},
      [4, 6],
      "interface eth0 has no usable IPv6 address (only fe80::1), and one interface has to serve both families",
    ],
    [
      "public addresses on different interfaces",
      HOST,
      { public4: "192.168.1.5", public6: "2001:db8:1::6" },
      [4, 6],
      "--public-ip=192.168.1.5: eth0 has it, but eth1 has --public-ipv6=2001:db8:1::6, and one interface has to serve " +
        "both; name one with --iface",
    ],
    ["nothing at all", host({}), {}, [4], "This host has no interfaces"],
  ])("%s", (_, inventory, wish, families, message) => {
    expect(refusal(wish, families, inventory)).toContain(message);
  });

  test("an interface without MTU", () => {
    const [eth0] = host({ eth0: ["10.0.0.1"] }).interfaces;
    if (eth0 === undefined) throw new Error("no interface");
    const inventory = { interfaces: [{ ...eth0, mtu: 0 }], defaultRoutes: { 4: 1 } };
    expect(refusal({}, [4], inventory)).toContain("interface eth0 has no MTU");
  });
});

test("what is chosen exists and has the address, or there is a NoInterfaceError", () => {
  const address = fc.oneof(fc.ipV4(), fc.ipV6()).map((text) => hostAddress(ip(text)));
  const interfaces = fc.uniqueArray(
    fc.record({
      index: fc.integer({ min: 1, max: 9 }),
      name: fc.constantFrom("lo", "eth0", "eth1", "flannel.1"),
      mtu: fc.constantFrom(0, 1500),
      addresses: fc.array(address, { maxLength: 4 }),
    }),
    { selector: ({ name }) => name },
  );
  const wish = fc.record({
    iface: fc.array(fc.constantFrom("eth0", "10.0.0.1"), { maxLength: 2 }),
    ifaceRegex: fc.array(fc.constantFrom("eth", ".", "^1"), { maxLength: 2 }),
    publicIPs: fc.constant({}),
  });
  const route = fc.integer({ min: 1, max: 9 });
  const families = fc.constantFrom<Family[]>([4], [6], [4, 6]);
  fc.assert(
    fc.property(interfaces, wish, route, families, (all, want, index, asked) => {
      try {
        const chosen = chooseExternalInterface({ interfaces: all, defaultRoutes: { 4: index, 6: index } }, want, asked);
        const found = all.find(({ name }) => name === chosen.name);
        for (const family of asked)
          expect(found?.addresses.map((one) => one.address)).toContain(chosen.addresses[family] as Address);
        expect(chosen.mtu).toBeGreaterThan(0);
      } catch (error) {
        expect(error).toBeInstanceOf(NoInterfaceError);
      }
    }),
  );
});
