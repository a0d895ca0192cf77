import { afterEach, beforeAll, expect, test } from "bun:test";
import { executable } from "../support/executable.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { agentOf, agentsOf, completeLab, endLabs, interfaces, startLab, tracesOf } from "./running-lab.ts";

async function ip(...args: readonly string[]): Promise<boolean> {
  return (await Bun.spawn(["ip", ...args], { stdout: "ignore", stderr: "ignore" }).exited) === 0;
}

async function fetchText(url: string): Promise<string> {
  return (await fetch(url)).text();
}

describeInNamespaces("tartan lab", () => {
  beforeAll(() => void executable());
  afterEach(endLabs);

  test("--once -o json: one document, every pair reached through VXLAN, nothing left", async () => {
    const { nodes, capture } = await completeLab("--nodes", "3");
    expect(nodes.map(({ name }) => name)).toEqual(["n1", "n2", "n3"]);
    for (const key of ["subnet", "publicIP", "vtepMAC", "debugURL"] as const) {
      expect(new Set(nodes.map((node) => node[key])).size).toBe(3);
    }
    expect(capture).toMatch(
      /^\d\d:\d\d:\d\d\.\d{6} IP 192\.0\.2\.\d\.\d+ > 192\.0\.2\.\d\.8472: VXLAN, flags \[I\] \(0x08\), vni 1: IP 10\.244\.\d+\.2 > 10\.244\.\d+\.2: ICMP echo request, /,
    );
  });

  test("two labs at once do not meet, and each has its own state", async () => {
    const both = [startLab("--nodes=2", "--once", "-o=json"), startLab("--nodes=3", "--once", "-o=json")];
    const ids = await Promise.all(both.map((lab) => lab.id()));
    const codes = await Promise.all(both.map((lab) => lab.end()));
    expect(codes, both.map(({ stderr }) => stderr).join("\n")).toEqual([0, 0]);
    expect(both.map((lab) => lab.document().pairs.length)).toEqual([2, 6]);
    for (const id of ids) expect(tracesOf(id)).toEqual([]);
  });

  test("it stays, with the agents' state to look at, until it is told to stop", async () => {
    const before = interfaces();
    const lab = startLab("--nodes", "2");
    const id = await lab.id();
    await lab.stays();
    expect(lab.stdout).toContain("All 2 pairs reached, through VXLAN.\n");
    expect(interfaces()).toBe(before);
    const urls = [...lab.stdout.matchAll(/^curl (\S+)\/debug\/state$/gm)].map((match) => match[1] ?? "");
    expect(urls).toHaveLength(2);
    for (const [index, url] of urls.entries()) {
      const state = await fetchText(`${url}/debug/state`);
      expect(JSON.parse(state)).toMatchObject({ node: `n${index + 1}`, reconcile: { settled: true } });
      expect(await fetchText(url)).toContain("<title>tartan</title>");
      expect((await fetch(`${url}/readyz`)).status).toBe(200);
      expect((await fetch(`${url}/nowhere`)).status).toBe(404);
      expect((await fetch(`${url}/readyz`, { method: "POST" })).status).toBe(405);
      expect((await fetch(`${url}/readyz`, { headers: { host: "evil.example" } })).status).toBe(421);
    }
    expect(lab.stdout).toContain(`${urls[0]}/ in a browser is the mesh page`);
    const status = /^ip netns exec .* status .*$/m.exec(lab.stdout)?.[0] ?? "";
    const shown = Bun.spawn(["sh", "-c", status], { stdout: "pipe", stderr: "inherit" });
    expect(await shown.stdout.text()).toStartWith("node       n1, agent up for ");
    expect(await shown.exited).toBe(0);

    process.kill(await agentOf(id, "n2"), "SIGKILL");
    await lab.tells("the agent of n2 ended by SIGKILL");
    expect((await fetch(`${urls[1]}/readyz`)).status).toBe(502);
    const line = () => /to start it again: (.*)\n/.exec(lab.stderr)?.[1];
    const again = await eventually(line, { within: 15_000, what: "the whole line" });
    const second = Bun.spawn(["sh", "-c", `exec env ${again}`], { stdout: "ignore", stderr: "ignore" });
    await eventually(async () => (await fetch(`${urls[1]}/readyz`)).status === 200, { within: 20_000, what: "ready" });

    lab.child.kill("SIGINT");
    expect(await lab.end()).toBe(0);
    // The agent that was started by hand has ended too.
    await second.exited;
    expect(tracesOf(id)).toEqual([]);
  });

  test("a pair that is not reached is told, and is in the exit code", async () => {
    const lab = startLab("--once", "-o", "json");
    const id = await lab.id();
    // The lab waits for this agent, and so for us.
    const agent = await agentOf(id);
    process.kill(agent, "SIGSTOP");
    expect(await ip("-n", `tartan-lab-${id}-switch`, "link", "set", "n3", "down")).toBeTrue();
    process.kill(agent, "SIGCONT");
    expect(await lab.end()).toBe(1);
    const { pairs, outside, encapsulated } = lab.document();
    expect(encapsulated).toBeFalse();
    for (const { node, reached, ok } of outside)
      expect([node, reached, ok]).toEqual([node, node !== "n3", node !== "n3"]);
    for (const { from, to, received, rttMs } of pairs) {
      const reaches = from !== "n3" && to !== "n3";
      expect([from, to, received > 0, rttMs !== null]).toEqual([from, to, reaches, reaches]);
    }
    expect(tracesOf(id)).toEqual([]);
  });

  test("an agent that ends before it is ready is named", async () => {
    const lab = startLab("--once");
    const id = await lab.id();
    process.kill(await agentOf(id, "n2"), "SIGKILL");
    expect(await lab.end()).toBe(1);
    expect(lab.stderr).toContain("\ntartan: the agent of n2 ended by SIGKILL\n");
    expect(lab.stdout).toBe("");
    expect(tracesOf(id)).toEqual([]);
  });

  test.each([
    ["making", "SIGINT", 130],
    ["starting an agent", "SIGTERM", 143],
    ["starting an agent", "SIGHUP", 129],
    ["attaching", "SIGINT", 130],
    ["pinging", "SIGINT", 130],
  ] as const)("stopped at %p by %s, it leaves nothing", async (step, signal, code) => {
    const lab = startLab("--once");
    const id = await lab.id();
    await eventually(() => lab.stderr.includes(`lab: ${step}`), { within: 30_000, what: step });
    lab.child.kill(signal);
    // npm passes on what the terminal sent already: that is no second Ctrl-C.
    lab.child.kill(signal);
    expect(await lab.end(), lab.stderr).toBe(code);
    expect(lab.stdout).toBe("");
    expect(tracesOf(id)).toEqual([]);
  });

  test("an agent that does not stop is killed", async () => {
    const lab = startLab("--nodes=2");
    const id = await lab.id();
    await lab.stays();
    process.kill(await agentOf(id), "SIGSTOP");
    lab.child.kill("SIGINT");
    expect(await lab.end()).toBe(0);
    expect(tracesOf(id)).toEqual([]);
  });

  test("a second Ctrl-C does not wait, and the next lab removes the rest", async () => {
    const lab = startLab("--nodes=2");
    const id = await lab.id();
    await lab.stays();
    process.kill(await agentOf(id), "SIGSTOP");
    const insist = () => {
      lab.child.kill("SIGINT");
      return lab.child.exitCode !== null;
    };
    await eventually(insist, { within: 20_000, what: "the end of the lab" });
    expect(await lab.end()).toBe(130);
    expect(lab.stderr).toContain("lab: not all is removed; the next lab does that when it starts\n");
    await eventually(() => agentsOf(id).length === 0, { within: 20_000, what: "the end of the agents" });
    expect(await startLab("--nodes=2", "--once").end()).toBe(0);
    expect(tracesOf(id)).toEqual([]);
  });

  test.each(["making the lab", "starting an agent", "attaching a pod", "stays until"])(
    "what a lab leaves that is killed at %p, the next one removes",
    async (step) => {
      const killed = startLab("--nodes=2");
      const id = await killed.id();
      await eventually(() => killed.stderr.includes(step), { within: 30_000, what: step });
      killed.child.kill("SIGKILL");
      await killed.end();
      expect(tracesOf(id)).not.toEqual([]);
      const alive = startLab("--nodes=2");
      await alive.stays();
      expect(alive.stderr).toContain(`removed what the lab ${id} left, which was killed`);
      expect(tracesOf(id)).toEqual([]);
      // One that still runs is not touched.
      const next = startLab("--nodes=2", "--once");
      expect(await next.end()).toBe(0);
      expect(next.stderr).not.toContain(await alive.id());
      expect(tracesOf(await alive.id())).not.toEqual([]);
    },
  );

  test("wrong options: one line, exit code 2, nothing on stdout", async () => {
    const lab = startLab("--nodse", "3");
    expect(await lab.end()).toBe(2);
    expect(lab.stderr).toBe("tartan: unknown option --nodse: did you mean --nodes?\n");
    expect(lab.stdout).toBe("");
  });
});
