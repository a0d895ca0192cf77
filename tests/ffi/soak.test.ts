import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { inNetworkNamespace } from "../../src/ffi/libc.ts";
import { Batch, type Label } from "../../src/ffi/libnl/batch.ts";
import { interfaceAddress, NeighbourBuilder, RouteBuilder } from "../../src/ffi/libnl/builders.ts";
import { addVxlan, changeLink, deleteLink } from "../../src/ffi/libnl/link.ts";
import type { Message } from "../../src/ffi/libnl/message.ts";
import { NetlinkSocket } from "../../src/ffi/libnl/socket.ts";
import { lazyLibrary } from "../../src/ffi/library.ts";
import type { Address } from "../../src/net/address.ts";
import type { Mac } from "../../src/net/mac.ts";
import { makePrefix } from "../../src/net/prefix.ts";
import { Netns } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";

const OPERATIONS = 100_000;
/** What a run may be larger at its end than after a tenth of it; a leak of one small object an operation is 10 MB. */
const MARGIN_MB = 6;

const LABEL: Label = { operation: "soak", object: "test" };
const fds = (): number => readdirSync("/proc/self/fd").length;
const residentMB = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;

/** Gives back what it can before memory is compared. */
function settledMB(): number {
  for (let i = 0; i < 3; i++) Bun.gc(true);
  return residentMB();
}

function parameters(n: number): { address: Address; mac: Mac } {
  const hex = (n & 255).toString(16).padStart(2, "0");
  return { address: `10.244.${n & 127}.0` as Address, mac: `02:00:00:00:01:${hex}` as Mac };
}

describeInNamespaces("libnl through FFI", () => {
  test(`${OPERATIONS} operations with forced garbage collection neither crash nor grow, and leave nothing open`, async () => {
    using ns = new Netns();
    await ns.exec(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"]);
    const before = fds();
    const socket = inNetworkNamespace(ns.path, () => new NetlinkSocket({ receiveBuffer: 1 << 20 }));
    const batch = new Batch<Label>(socket);
    const refused: string[] = [];
    const flush = (): void => {
      for (const { error } of batch.flush()) refused.push(error.message);
    };
    const add = (message: Message): void => {
      if (batch.add(message, LABEL)) return;
      flush();
      batch.add(message, LABEL);
    };
    const device = { name: "flannel.1", mac: "02:00:00:00:00:01" as Mac, mtu: 1450, up: true, alias: "tartan" };
    const vxlan = { vni: 1, port: 8472, gbp: false, learning: false, local: "192.0.2.1" as Address, underlay: 1 };
    add(addVxlan({ ...device, ...vxlan }));
    flush();
    const index = Number((await ns.exec(["ip", "-o", "link", "show", "flannel.1"])).split(":")[0]);
    let reference = Number.NaN;
    const routes = new RouteBuilder(4);
    const neighbours = new NeighbourBuilder(4, "neighbour");
    const forwarding = new NeighbourBuilder(4, "forwarding");
    for (let n = 0; n < OPERATIONS; n++) {
      const { address, mac } = parameters(n);
      const route = {
        destination: makePrefix(address, 24),
        gateway: address,
        device: index,
        onlink: true,
        protocol: 112,
      };
      switch (n % 8) {
        case 0:
          add(neighbours.replace({ device: index, address, mac }));
          break;
        case 1:
          add(forwarding.replace({ device: index, address: "192.0.2.9" as Address, mac }));
          break;
        case 2:
          add(routes.replace(route));
          break;
        case 3:
          // The kernel takes no MTU together with what only VXLAN has.
          add(changeLink(index, { mtu: 1400 + (n % 50), mac: device.mac, alias: "tartan" }));
          add(changeLink(index, { learning: n % 16 === 3, local: vxlan.local }));
          break;
        case 4:
          add(interfaceAddress("add", index, "10.244.200.0" as Address, 32, 4));
          add(interfaceAddress("delete", index, "10.244.200.0" as Address, 32, 4));
          break;
        case 5: {
          // Builders that come and go, as those of a reconciler that is opened anew.
          using another = new RouteBuilder(6);
          add(
            another.replace({
              ...route,
              destination: makePrefix("fd00::" as Address, 64),
              gateway: undefined,
              onlink: false,
            }),
          );
          break;
        }
        case 6:
          add(neighbours.replace({ device: index, address, mac }));
          add(neighbours.delete({ device: index, address, mac }));
          break;
        default:
          add(forwarding.replace({ device: index, address: "192.0.2.8" as Address, mac }));
      }
      if (n % 500 === 499) flush();
      if (n % 1_000 === 999) Bun.gc(true);
      if (n === OPERATIONS / 10) reference = settledMB();
    }
    flush();
    const grown = settledMB() - reference;
    expect(new Set(refused)).toEqual(new Set());
    expect(grown).toBeLessThan(MARGIN_MB);
    add(deleteLink(index));
    flush();
    for (const owned of [routes, neighbours, forwarding, batch, socket]) owned[Symbol.dispose]();
    expect(fds()).toBe(before);
  }, 120_000);
});

test("a library that is missing is named, with the package that has it", () => {
  const load = lazyLibrary("libabsent.so.9", "libabsent9", { nothing: { args: [], returns: "void" } });
  expect(() => load()).toThrow("the library libabsent.so.9 can't be loaded; on Debian: apt install libabsent9");
});
