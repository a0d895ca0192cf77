import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { CniRunner, type Conflist, type Pod, sampleConflist } from "../support/cni.ts";
import { Netns } from "../support/netns.ts";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { TemporaryFolder } from "../support/temp.ts";

interface Node {
  readonly ns: Netns;
  readonly runner: CniRunner;
  readonly list: Conflist;
}

describeInNamespaces("agent and CNI plugin together", () => {
  let folder: TemporaryFolder;
  let overlay: Overlay;
  let nodes: Node[];
  const pods: Netns[] = [];

  beforeAll(async () => {
    folder = new TemporaryFolder();
    overlay = new Overlay(folder.path);
    await overlay.create(2);
    nodes = overlay.nodes.map(({ ns, agent }, index) => {
      const place = folder.at(`node${index}`);
      mkdirSync(place);
      const sample = sampleConflist(place);
      const plugins = sample.plugins.map((one) =>
        one.type === "flannel" ? { ...one, subnetFile: agent.subnetFile } : one,
      );
      return { ns, runner: new CniRunner(ns, place), list: { ...sample, plugins } };
    });
  });

  afterAll(() => {
    for (const ns of pods) ns[Symbol.dispose]();
    overlay[Symbol.dispose]();
    folder[Symbol.dispose]();
  });

  function pod(containerId: string): Pod & { readonly ns: Netns } {
    const ns = new Netns();
    pods.push(ns);
    return { ns, containerId, netns: ns.path };
  }

  test("pods that are added while the agents start reach each other over the overlay", async () => {
    const [a, b] = [pod("a"), pod("b")];
    const added = [a, b].map((one, index) => {
      const { runner, list } = nodes[index] ?? fail();
      return runner.add(list, one);
    });
    await overlay.start();
    const [, to] = await Promise.all(added);
    const address = to?.ips[0]?.address.split("/")[0] ?? "";
    // As large as an MTU of 1450 lets through in one piece.
    await a.ns.exec(["ping", "-c2", "-W5", "-M", "do", "-s", "1422", address]);
    for (const [index, one] of [a, b].entries()) {
      const { runner, list } = nodes[index] ?? fail();
      await runner.check(list, one);
      await runner.status(list);
      await runner.del(list, one);
      expect([runner.records(), runner.addresses()]).toEqual([[], []]);
    }
  });

  test("STATUS tells that the agent's device is gone, once nobody mends it", async () => {
    const { ns, runner, list } = nodes[0] ?? fail();
    await overlay.node(1).agent.stop();
    await runner.status(list);
    await ns.exec(["ip", "link", "delete", "flannel.1"]);
    await expect(runner.status(list)).rejects.toMatchObject({
      code: 50,
      message: expect.stringContaining("flannel.1"),
    });
  });
});

function fail(): never {
  throw new Error("there is no such node");
}
