import { expect, test } from "bun:test";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

describeInNamespaces("an IPv6 address that another host has", () => {
  test("is not published: the agent says whose it is, and goes on with the next one that is added", async () => {
    using folder = new TemporaryFolder();
    using overlay = new Overlay(folder.path, [6]);
    await overlay.create(1);
    const { ns, agent } = overlay.node(1);
    await overlay.addHost(2);
    await ns.exec(["ip", "-6", "address", "flush", "dev", "eth0", "scope", "global"]);
    await ns.exec(["ip", "address", "add", "2001:db8::2/64", "dev", "eth0"]);
    await eventually(
      async () => (await ns.exec(["ip", "-6", "address", "show", "dev", "eth0"])).includes("dadfailed"),
      {
        within: 20_000,
        what: "duplicate address detection finds the other host",
      },
    );
    agent.spawn();
    const reason = await eventually(
      async () => (await agent.readiness()).reasons.find(({ condition }) => condition === "interface"),
      { within: 20_000, what: "the address is refused" },
    );
    expect(reason.message).toContain("2001:db8::2 of another host");
    await ns.exec(["ip", "address", "add", "2001:db8::9/64", "dev", "eth0", "nodad"]);
    await agent.ready();
    expect((await agent.state()).externalInterface?.publicIPs).toEqual(["2001:db8::9"]);
  });
});
