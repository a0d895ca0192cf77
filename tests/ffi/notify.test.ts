import { expect, test } from "bun:test";
import { closeSync } from "node:fs";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM } from "../../src/ffi/constants.ts";
import { openSocket, receive } from "../../src/ffi/libc.ts";
import { lazyLibrary } from "../../src/ffi/library.ts";
import { notifyServiceManager } from "../../src/ffi/notify.ts";
import { TestAgent } from "../support/agent.ts";
import { Netns, pair } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

const bindable = lazyLibrary("libc.so.6", "libc6", { bind: { args: ["i32", "ptr", "u32"], returns: "i32" } });

/** Stands for systemd: a datagram socket at a path, or at an abstract name that begins with `@`. */
class ServiceManager implements Disposable {
  readonly #fd = openSocket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  constructor(name: string) {
    const bytes = new TextEncoder().encode(name);
    if (name.startsWith("@")) bytes[0] = 0;
    const address = Uint8Array.from([AF_UNIX, 0, ...bytes]);
    expect(bindable().bind(this.#fd, address, address.length)).toBe(0);
  }

  /** @returns what was sent, or undefined if nothing is there */
  take(): string | undefined {
    const buffer = new Uint8Array(4096);
    const length = receive(this.#fd, buffer, 0x40);
    return length < 0 ? undefined : new TextDecoder().decode(buffer.subarray(0, length));
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

test("a state reaches the service manager, at a path and at an abstract name", () => {
  using folder = new TemporaryFolder();
  for (const name of [folder.at("notify"), `@tartan-test-${process.pid}`]) {
    using manager = new ServiceManager(name);
    expect(manager.take()).toBeUndefined();
    notifyServiceManager(name, "READY=1");
    expect(manager.take()).toBe("READY=1");
  }
  expect(() => notifyServiceManager(folder.at("absent"), "READY=1")).toThrow(/absent.*ENOENT/);
});

describeInNamespaces("the agent under systemd", () => {
  test("says READY=1 once it is ready, not before, and STOPPING=1 at its end", async () => {
    using folder = new TemporaryFolder();
    using ns = new Netns();
    using other = new Netns();
    await pair({ ns, name: "eth0", addresses: ["192.0.2.1/24"] }, { ns: other, name: "eth0" });
    using manager = new ServiceManager(folder.at("notify"));
    const netConf = folder.at("net-conf.json");
    const agent = new TestAgent({
      ns,
      folder: folder.path,
      name: "n1",
      store: folder.at("leases.db"),
      netConf,
      environment: { NOTIFY_SOCKET: folder.at("notify") },
    });
    agent.spawn();
    await eventually(async () => (await agent.readiness()).status === 503, {
      within: 10_000,
      what: "it waits for its configuration",
    });
    expect(manager.take()).toBeUndefined();
    await Bun.write(netConf, '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}');
    await eventually(() => manager.take() === "READY=1", { within: 15_000, what: "READY=1" });
    expect((await agent.readiness()).ready).toBe(true);
    await agent.stop();
    expect(manager.take()).toBe("STOPPING=1");
  });
});
