import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { TestAgent } from "../support/agent.ts";
import { Netns, pair } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

describeInNamespaces("the external interface of a host with two", () => {
  const folder = useTemporaryFolder();
  const ns = new Netns();
  const other = new Netns();
  const agents: TestAgent[] = [];

  beforeAll(async () => {
    await Bun.write(join(folder.path, "net-conf.json"), '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}');
    await pair({ ns, name: "eth0", addresses: ["192.0.2.1/24"] }, { ns: other, name: "p0" });
    await pair({ ns, name: "eth1", addresses: ["198.51.100.1/24"] }, { ns: other, name: "p1" });
    await ns.exec(["ip", "route", "add", "default", "via", "192.0.2.254"]);
    await ns.exec(["ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.254"]);
  });

  afterAll(() => {
    ns[Symbol.dispose]();
    other[Symbol.dispose]();
  });

  const start = async (iface: readonly string[]): Promise<TestAgent> => {
    const name = `a${agents.length}`;
    const agent = new TestAgent({
      ns,
      folder: folder.path,
      name,
      store: join(folder.path, `${name}.db`),
      netConf: join(folder.path, "net-conf.json"),
      iface,
    });
    agents.push(agent);
    agent.spawn();
    return agent;
  };
  const uses = (agent: TestAgent, name: string, address: string) =>
    eventually(
      async () => {
        const { externalInterface, lease } = await agent.state();
        return (
          externalInterface?.name === name &&
          externalInterface.publicIPs[0] === address &&
          lease?.ipv4.publicIP === address &&
          (await ns.exec(["ip", "-d", "link", "show", "flannel.1"])).includes(`local ${address} dev ${name}`)
        );
      },
      { within: 15_000, what: `${name} with ${address} is used and published` },
    );

  test("is that of the default route, and follows its address, its end, and another default route", async () => {
    const agent = await start([]);
    await uses(agent, "eth0", "192.0.2.1");
    await ns.exec(["ip", "address", "del", "192.0.2.1/24", "dev", "eth0"]);
    await ns.exec(["ip", "address", "add", "192.0.2.9/24", "dev", "eth0"]);
    await ns.exec(["ip", "route", "replace", "default", "via", "192.0.2.254"]);
    await uses(agent, "eth0", "192.0.2.9");
    await ns.exec(["ip", "route", "replace", "default", "via", "198.51.100.254"]);
    await uses(agent, "eth1", "198.51.100.1");
    await ns.exec(["ip", "route", "del", "default"]);
    await eventually(
      async () => (await agent.readiness()).reasons.some(({ message }) => message.includes("no IPv4 default route")),
      { within: 15_000, what: "it says that there is no default route" },
    );
    await ns.exec(["ip", "route", "add", "default", "via", "192.0.2.254"]);
    await uses(agent, "eth0", "192.0.2.9");
    expect(await agent.stop()).toBe(0);
  });

  test("is the one towards --iface-can-reach, also after rules of the host have changed", async () => {
    const agent = await start(["--iface-can-reach=203.0.113.7"]);
    await uses(agent, "eth1", "198.51.100.1");
    await ns.exec(["ip", "address", "add", "198.51.100.8/24", "dev", "eth1"]);
    await ns.exec(["ip", "route", "replace", "203.0.113.0/24", "via", "192.0.2.254"]);
    // A route that is not followed by itself: the next event about interfaces, or the next --resync, sees it.
    await ns.exec(["ip", "link", "set", "eth1", "mtu", "1400"]);
    await uses(agent, "eth0", "192.0.2.9");
    await agent.stop();
  });

  test("refuses an --iface-can-reach that nothing leads to, and lists what there is", async () => {
    await ns.exec(["ip", "route", "add", "unreachable", "203.0.113.64/26"]);
    const agent = await start(["--iface-can-reach=203.0.113.65"]);
    const reason = await eventually(
      async () => (await agent.readiness()).reasons.find((one) => one.condition === "interface"),
      {
        within: 15_000,
        what: "it gives a reason",
      },
    );
    expect(reason.message).toContain("--iface-can-reach=203.0.113.65: look up the route to 203.0.113.65: EHOSTUNREACH");
    expect(reason.message).toContain("eth1 (198.51.100.1");
    await ns.exec(["ip", "route", "del", "unreachable", "203.0.113.64/26"]);
    await ns.exec(["ip", "link", "set", "eth1", "mtu", "1500"]);
    await uses(agent, "eth0", "192.0.2.9");
    await agent.stop();
  });
});
