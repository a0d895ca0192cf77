import * as v from "valibot";
import type { Family } from "../../src/net/family.ts";
import { executable } from "../support/executable.ts";
import { type NodeInOverlay, Overlay } from "../support/overlay.ts";
import { eventually } from "../support/wait.ts";

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const Changes = v.object({
  source: v.string(),
  settled: v.nullable(v.boolean()),
  changes: v.array(v.object({ action: v.string(), kind: v.string(), object: v.string(), why: v.string() })),
});

const TraceBody = v.object({
  kind: v.string(),
  lost: v.boolean(),
  problem: v.nullable(v.string()),
  fix: v.nullable(v.string()),
  agentAnswers: v.boolean(),
  lease: v.nullable(v.object({ node: v.nullable(v.string()) })),
  steps: v.array(v.object({ step: v.string(), ok: v.boolean(), text: v.string() })),
});

export const BOTH_FAMILIES: readonly Family[] = [4, 6];

/** Three nodes of both families, and commands on the first of them. */
export class CommandedOverlay extends Overlay {
  /** VTEP MACs of node 2 by family */
  readonly macs: Record<Family, string> = { 4: "", 6: "" };

  constructor(folder: string) {
    super(folder, BOTH_FAMILIES);
  }

  /** Started, with pods, and every peer probed. */
  async bringUp(): Promise<void> {
    await this.create(3, undefined, ["--probe-interval=1"]);
    await this.start();
    await this.attachPods();
    const { ipv4, ipv6 } = await this.node(2).agent.lease();
    Object.assign(this.macs, { 4: ipv4.vtepMAC, 6: ipv6.vtepMAC });
    await this.peersUp();
  }

  async peersUp(): Promise<void> {
    const look = async () => (await this.run("peers")).stdout.includes("2 peers: 2 up");
    await eventually(look, { within: 40_000, what: "all peers answer" });
  }

  run(...args: string[]): Promise<Outcome> {
    return tartan(this.node(1), args);
  }

  /** The option by which commands find the node's subnet.env. */
  get subnetFile(): string {
    return `--subnet-file=${this.node(1).agent.subnetFile}`;
  }

  podOf(number: number, family: Family): string {
    return this.node(number).podAddresses[family] ?? "";
  }

  async diff(): Promise<v.InferOutput<typeof Changes> & { code: number }> {
    const { code, stdout } = await this.run("diff", "-o", "json", this.subnetFile);
    return { code, ...v.parse(Changes, JSON.parse(stdout)) };
  }

  async trace(target: string): Promise<v.InferOutput<typeof TraceBody> & { code: number }> {
    const { code, stdout } = await this.run("trace", target, "-o", "json", this.subnetFile);
    return { code, ...v.parse(TraceBody, JSON.parse(stdout)) };
  }
}

/** Runs a command of the executable on a node, where its agent is found by its socket. */
export async function tartan(
  { ns, agent }: Pick<NodeInOverlay, "ns" | "agent">,
  args: readonly string[],
): Promise<Outcome> {
  const child = Bun.spawn(ns.command([executable(), ...args, `--socket=${agent.debugSocket}`]), {
    stdout: "pipe",
    stderr: "pipe",
    env: { PATH: process.env["PATH"] ?? "", HTTP_PROXY: "http://127.0.0.1:1", http_proxy: "http://127.0.0.1:1" },
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}
