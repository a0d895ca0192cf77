// Run by soak.test.ts in a process of its own: `bun soak.ts NAMESPACE IFINDEX`. Prints one JSON document.
import { readdirSync } from "node:fs";
import { RTM_GETLINK } from "../../src/ffi/constants.ts";
import { inNetworkNamespace } from "../../src/ffi/libc.ts";
import { Batch, type Label } from "../../src/ffi/libnl/batch.ts";
import { interfaceAddress, NeighbourBuilder, RouteBuilder } from "../../src/ffi/libnl/builders.ts";
import { addVxlan, changeLink, deleteLink } from "../../src/ffi/libnl/link.ts";
import { type Message, plainMessage } from "../../src/ffi/libnl/message.ts";
import { NetlinkSocket } from "../../src/ffi/libnl/socket.ts";
import { messagesOf } from "../../src/ffi/libnl/wire.ts";
import { readKernel } from "../../src/kernel/read.ts";
import { exampleMac, examplePublicIP, exampleSubnet, NETWORKS } from "../desired/examples.ts";

const WARM_UP = 30_000;
const OPERATIONS = 100_000;
const [namespace = "", indexText = ""] = process.argv.slice(2);
const device = Number(indexText);

function measure(): { rss: number; descriptors: number } {
  Bun.gc(true);
  return { rss: process.memoryUsage.rss(), descriptors: descriptors() };
}

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** Everything that the agent sends and reads, over and over. */
class Soak implements Disposable {
  readonly #stack = new DisposableStack();
  readonly #socket = this.#stack.use(new NetlinkSocket({ receiveBuffer: 8 * 1024 * 1024 }));
  readonly #batch = this.#stack.use(new Batch<Label>(this.#socket));
  readonly #routes = { 4: this.#stack.use(new RouteBuilder(4, 0)), 6: this.#stack.use(new RouteBuilder(6, 1024)) };
  readonly #neighbours = this.#stack.use(new NeighbourBuilder(4, "neighbour"));
  readonly #forwarding = this.#stack.use(new NeighbourBuilder(4, "forwarding"));
  refused = 0;

  run(operations: number): void {
    for (let n = 0; n < operations; n++) {
      this.#add(this.#message(n % 200, Math.floor(n / 200) % 10));
      if (n % 997 === 0) Bun.gc(true);
      if (n % 20_000 === 0) this.#rare();
    }
    this.#flush();
  }

  #message(peer: number, kind: number): Message {
    const destination = exampleSubnet(4, peer);
    const { address } = destination;
    const route = { destination, gateway: address, device, onlink: true, protocol: 112 };
    const neighbour = { device, address, mac: exampleMac(4, peer) };
    const entry = { device, address: examplePublicIP(4, peer), mac: exampleMac(4, peer) };
    const destination6 = exampleSubnet(6, peer);
    const route6 = { ...route, destination: destination6, gateway: destination6.address };
    switch (kind) {
      case 0:
        return this.#routes[4].replace(route);
      case 1:
        return this.#neighbours.replace(neighbour);
      case 2:
        return this.#forwarding.replace(entry);
      case 3:
        return this.#routes[6].replace(route6);
      case 4:
        return interfaceAddress("add", device, address, 32, 4);
      case 5:
        return interfaceAddress("delete", device, address, 32, 4);
      case 6:
        return this.#routes[4].delete(route);
      case 7:
        return this.#neighbours.delete(neighbour);
      case 8:
        return this.#forwarding.delete(entry);
      default:
        return this.#routes[6].delete(route6);
    }
  }

  /** What the kernel takes long for, or what throws. */
  #rare(): void {
    this.#flush();
    const common = { mac: exampleMac(4, 9), mtu: 1400, up: true, alias: "soak" };
    const vxlan = { vni: 99, port: 4789, gbp: true, learning: true, local: examplePublicIP(4, 0), underlay: 0 };
    this.#add(addVxlan({ name: "soak0", ...common, ...vxlan }));
    this.#flush();
    const mirror = readKernel(this.#socket, NETWORKS);
    const made = [...mirror.links.values()].find(({ name }) => name === "soak0");
    this.#add(changeLink(made?.index ?? 0, { mtu: 1300, alias: "other", mac: exampleMac(4, 8) }));
    this.#add(changeLink(made?.index ?? 0, { learning: false }));
    this.#add(deleteLink(made?.index ?? 0));
    this.#flush();
    // Refused: there is no such device any more.
    this.#add(deleteLink(made?.index ?? 0));
    this.#flush();
    for (let n = 0; n < 20; n++) {
      using socket = new NetlinkSocket({ receiveBuffer: 1024 * 1024 });
      using batch = new Batch<Label>(socket);
      using _routes = new RouteBuilder(6, 1024);
      using _neighbours = new NeighbourBuilder(6, "forwarding");
      batch.sendOnly(plainMessage(RTM_GETLINK, 0x300, new Uint8Array(16)), { operation: "read", object: "links" });
      const buffer = new Uint8Array(64 * 1024);
      const length = socket.receive(buffer);
      if ([...messagesOf(buffer.subarray(0, length))].length === 0) throw new Error("a dump of links is empty");
    }
  }

  #add(message: Message): void {
    const tag = { operation: "soak", object: "operation" };
    if (this.#batch.add(message, tag)) return;
    this.#flush();
    this.#batch.add(message, tag);
  }

  #flush(): void {
    this.refused += this.#batch.flush().length;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

const result = inNetworkNamespace(namespace, () => {
  using soak = new Soak();
  soak.run(WARM_UP);
  const before = measure();
  soak.run(OPERATIONS);
  const after = measure();
  return { operations: OPERATIONS, refused: soak.refused, before, after };
});
console.log(JSON.stringify({ ...result, descriptorsAtEnd: descriptors() }));
