import { expect, test } from "bun:test";
import fc from "fast-check";
import { NetlinkSocket } from "../../src/ffi/libnl/socket.ts";
import type { Actual } from "../../src/kernel/mirror.ts";
import { readKernel } from "../../src/kernel/read.ts";
import type { Neighbour } from "../../src/kernel/state.ts";
import { type Address, familyOf } from "../../src/net/address.ts";
import { containsAddress } from "../../src/net/prefix.ts";
import { NETWORKS } from "../desired/examples.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { linesOf } from "./expectations.ts";
import { desiredOn, inside, KernelNode } from "./real-kernel.ts";

const anyOf = fc.constantFrom<string[]>;
const device4 = anyOf("flannel.1", "flannel.1", "eth0");
const subnet = anyOf("10.244.2.0/24", "10.244.3.0/24", "10.244.9.0/24", "172.16.0.0/24");
const gateway = anyOf("via 10.244.2.0", "via 10.244.3.0", "via 198.18.0.77", "");
const protocol = anyOf("", "proto 112", "proto 120", "proto static");
const verb = anyOf("add", "prepend", "append", "replace", "delete");
const subnet6 = anyOf("fd00:10:244:2::/64", "fd00:10:244:3::/64");
const lladdr = anyOf("02:04:00:00:00:01", "02:04:00:00:00:02", "02:00:00:00:00:99");

/** Words of one command of `ip`; the kernel may refuse it. */
const words = (...parts: (string | fc.Arbitrary<string>)[]): fc.Arbitrary<string> =>
  fc.tuple(...parts.map((part) => (typeof part === "string" ? fc.constant(part) : part))).map((list) => list.join(" "));

const anyCommand: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 8,
    arbitrary: words(
      "route",
      verb,
      subnet,
      gateway,
      "dev",
      device4,
      anyOf("onlink", ""),
      protocol,
      anyOf("", "", "metric 9"),
    ),
  },
  {
    weight: 1,
    arbitrary: words("route", anyOf("add", "delete", "replace"), anyOf("blackhole", "unreachable"), subnet),
  },
  {
    weight: 3,
    arbitrary: words(
      "route",
      verb,
      subnet6,
      anyOf("via fd00:10:244:2::", "via fd00:18::77", ""),
      "dev",
      anyOf("flannel-v6.1", "eth0"),
      anyOf("onlink", ""),
      protocol,
    ),
  },
  { weight: 1, arbitrary: words("route flush dev", device4) },
  {
    weight: 3,
    arbitrary: words(
      "neighbour replace",
      anyOf("10.244.2.0", "10.244.9.0"),
      "lladdr",
      lladdr,
      "dev",
      device4,
      "nud",
      anyOf("permanent", "stale"),
    ),
  },
  { weight: 1, arbitrary: words("neighbour delete", anyOf("10.244.2.0", "10.244.9.0"), "dev", device4) },
  { weight: 1, arbitrary: words("neighbour flush dev flannel.1 nud all") },
  {
    weight: 2,
    arbitrary: words(
      "address",
      anyOf("add", "delete"),
      anyOf("10.244.1.0/32", "10.244.1.0/24", "192.0.2.1/24"),
      "dev",
      device4,
    ),
  },
  {
    weight: 1,
    arbitrary: words(
      "address",
      anyOf("add", "delete"),
      anyOf("fd00:10:244:1::/128", "fd00:18::1/64"),
      "dev",
      anyOf("flannel-v6.1", "eth0"),
    ),
  },
  { weight: 2, arbitrary: words("link set", anyOf("flannel.1", "flannel-v6.1", "eth0"), anyOf("up", "down", "up")) },
  {
    weight: 1,
    arbitrary: words(
      "link set flannel.1",
      anyOf("mtu 1400", "address 02:00:00:00:00:98", "alias other", "type vxlan learning"),
    ),
  },
  { weight: 1, arbitrary: words("link delete", anyOf("flannel.1", "flannel-v6.1")) },
  {
    weight: 1,
    arbitrary: words("link add flannel.1 type", anyOf("bridge", "vxlan id 1 dstport 8472 local 198.18.0.1")),
  },
);

/** Without the neighbours that the kernel makes for itself, such as those of multicast groups: it does not tell of them. */
function followed(actual: Actual): string[] {
  const own = [...actual.neighbours].map(([index, entries]): [number, Map<Address, Neighbour>] => [
    index,
    new Map([...entries].filter(([address]) => isOfNetwork(address))),
  ]);
  const { links, addresses, routes, forwarding } = actual;
  return linesOf({ links, addresses, routes, forwarding, neighbours: new Map(own) });
}

const isOfNetwork = (address: Address) => containsAddress(NETWORKS[familyOf(address)], address);

describeInNamespaces("on the real kernel, a copy fed by notifications", () => {
  test("is what a new full read gives, after whatever commands", async () => {
    await using node = await KernelNode.create([4, 6]);
    const desired = desiredOn(node, [4, 6], [1, 2]);
    using reader = await inside(node.ns, async () => new NetlinkSocket({ receiveBuffer: 4 * 1024 * 1024 }));
    // One seed: the kernel takes longer than a model, and what fails must fail again.
    const rounds = fc.sample(fc.array(anyCommand, { minLength: 1, maxLength: 8 }), { numRuns: 45, seed: 20_240_101 });
    for (const [round, commands] of rounds.entries()) {
      // Each from a settled state or, at every third time, from where the one before has led.
      if (round % 3 !== 0) await node.reconcile(desired);
      await node.ns.exec(["ip", "-force", "-batch", "-"], commands.join("\n")).catch(() => {});
      const story = () => `round ${round}: ${commands.join("; ")}`;
      await eventually(
        async () => {
          await inside(node.ns, () => node.reconciler.actual());
          const { known } = node.reconciler;
          if (known === undefined) return false;
          expect(followed(known)).toEqual(followed(readKernel(reader, NETWORKS)));
          return true;
        },
        { within: 20_000, what: story() },
      );
    }
  });

  test("needs no full read for entries that come, change and go, nor for other devices", async () => {
    await using node = await KernelNode.create([4, 6]);
    await node.reconcile(desiredOn(node, [4, 6], [1, 2]));
    await node.batch("ip", [
      "route delete 10.244.2.0/24",
      "route prepend 10.244.3.0/24 dev eth0",
      "route delete fd00:10:244:2::/64",
      "neighbour flush dev flannel.1 nud permanent",
      "link set flannel.1 mtu 1400",
      "link add cni0 type bridge",
      "address add 10.244.1.1/24 dev cni0",
      "link set cni0 up",
      "link set cni0 down",
      "link delete cni0",
      "address delete fd00:18::1/64 dev eth0",
    ]);
    await node.reconcile(desiredOn(node, [4, 6], [1, 2]));
    expect((await node.reconcile(desiredOn(node, [4, 6], [1, 2, 3]))).settled).toBe(true);
    expect(node.reconciler.fullReads).toBe(1);
  });
});
