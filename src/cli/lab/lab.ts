import { styleText } from "node:util";
import { describeError, hasCode } from "../../base/errors.ts";
import { mapFamilies } from "../../net/family.ts";
import { agentReady, startAgents } from "./agents.ts";
import { type Child, ChildError, restartLine } from "./child.ts";
import { provideCni } from "./cni/plugins.ts";
import { quote } from "./command.ts";
import { InterruptedError, Interrupts } from "./interrupts.ts";
import { makeLabFolder } from "./lab-folder.ts";
import { type LabOptions, labHelp, parseLabOptions } from "./options.ts";
import { probeOutside } from "./outside.ts";
import { ownCommand } from "./own-command.ts";
import { probePairs } from "./pairs.ts";
import { inParallel } from "./parallel.ts";
import { type LabPlan, planLab } from "./plan.ts";
import { LabPods } from "./pods.ts";
import { requireLabCanRun } from "./preflight.ts";
import { AgentProxy } from "./proxy.ts";
import { abandonedLabs, killProcesses, removeLab } from "./removal.ts";
import { type LabReport, type Paint, reportJson, reportText, succeeded } from "./report.ts";
import { placesFrom, requireServers, type ServerPaths } from "./servers/binaries.ts";
import { startLeaseSource } from "./servers/lease-source.ts";
import { makeTopology } from "./topology.ts";

/** Progress and warnings; stdout is for the report alone. */
function say(text: string): void {
  process.stderr.write(`lab: ${text}\n`);
}

/**
 * `tartan lab`: makes a whole overlay in network namespaces, shows that it works, and removes it.
 * @returns the exit code
 * @throws UsageError for wrong options, Error when the lab can't be made; nothing is left behind then either
 */
export async function runLab(args: readonly string[]): Promise<number> {
  const options = parseLabOptions(args);
  if (options.help) {
    await print(labHelp());
    return 0;
  }
  requireLabCanRun(options);
  // A terminal or a pipe that is gone must not keep the lab from cleaning up.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

  let id: string | undefined;
  using interrupts = new Interrupts((exitCode) => {
    if (id !== undefined) killProcesses(id);
    say("not all is removed; the next lab does that when it starts");
    process.exit(exitCode);
  });
  try {
    const servers = await requireServers(options.lease, placesFrom(process.env), say, interrupts.signal);
    await removeLeftovers();
    interrupts.signal.throwIfAborted();
    id = makeLabFolder();
    return (await showLab(planLab(id, options), servers, options, interrupts.signal)) ? 0 : 1;
  } catch (error) {
    if (error instanceof ChildError) for (const line of error.log) process.stderr.write(`  ${line}\n`);
    if (!(error instanceof InterruptedError)) throw error;
    say(error.message);
    return error.exitCode;
  } finally {
    if (id !== undefined) {
      await removeLab(id);
      say(`removed the lab ${id}`);
    }
  }
}

/** Removes what killed labs left. What can't be removed is in nobody's way, so that is no reason to stop. */
async function removeLeftovers(): Promise<void> {
  for (const id of abandonedLabs()) {
    try {
      await removeLab(id);
      say(`removed what the lab ${id} left, which was killed`);
    } catch (error) {
      say(`can't remove all that the lab ${id} left, which was killed: ${describeError(error)}`);
    }
  }
}

/** @returns whether everything was as it should be */
async function showLab(
  plan: LabPlan,
  servers: ServerPaths,
  options: LabOptions,
  signal: AbortSignal,
): Promise<boolean> {
  say(`making the lab ${plan.id}: ${plan.nodes.length} nodes joined by a switch`);
  await makeTopology(plan, signal);

  await using open = new AsyncDisposableStack();
  const source = await startLeaseSource(plan, { paths: servers, tell: say, open, signal });

  say("starting an agent in each node");
  for (const { cni } of plan.nodes) provideCni(cni);
  const agents = startAgents(plan);
  const live = await inParallel(agents, { signal }, async (agent, either) => {
    const { leases, rules } = await agentReady(agent, agents.length, either);
    return { node: agent.node, leases, rules, debugURL: open.use(new AgentProxy(agent.node)).url };
  });
  open.use(watchChildren([...source.children, ...agents]));

  say("attaching a pod to each node, by its CNI plugins");
  await using pods = new LabPods(say);
  const stations = await inParallel(live, { signal }, async ({ node, leases, ...rest }, either) => {
    const { plugins, addresses } = await pods.attach(node, either);
    const families = mapFamilies(leases, (lease, family) => {
      const podAddress = addresses[family];
      return podAddress && { ...lease, podAddress };
    });
    return { ...rest, node, families, plugins };
  });

  say(`pinging every pod from every other: ${stations.length * (stations.length - 1)} pairs`);
  const probe = await probePairs(stations, plan.switchNamespace, signal);
  say("pinging the outside from every pod, and every pod from the outside");
  const report: LabReport = {
    lease: source.report,
    nodes: stations.map(({ node: { name, namespace, commandSocket, cni }, families, plugins, rules, debugURL }) => {
      const { conflist, addressDir } = cni;
      const inOrder = Object.values(mapFamilies(families, (one, family) => ({ family, ...one })));
      const command = [...["ip", "netns", "exec", namespace], ...ownCommand(), "status", `--socket=${commandSocket}`];
      const status = command.map(quote).join(" ");
      return { name, families: inOrder, cni: { plugins, conflist, addressDir }, rules, debugURL, status };
    }),
    ...probe,
    outside: await probeOutside(stations, plan.outside, signal),
  };
  await print(options.output === "json" ? reportJson(report) : reportText(report, paintStdout));
  if (!options.once) await stay(plan, signal);
  const gone = await pods.detach();
  return gone && succeeded(report);
}

/** Tells of every process that ends, and how it is started again, until it is disposed of. */
function watchChildren(children: readonly Child[]): Disposable {
  let watching = true;
  for (const child of children) {
    void child.ended.then((how) => {
      if (watching) say(`${child.name} ended ${how}; to start it again: ${restartLine(child)}`);
    });
  }
  return {
    [Symbol.dispose]() {
      watching = false;
    },
  };
}

/** Waits for Ctrl-C. */
async function stay({ id, nodes: [first] }: LabPlan, signal: AbortSignal): Promise<void> {
  say(`the lab ${id} stays until Ctrl-C${first ? `; inside a node: ip netns exec ${first.namespace} bash` : ""}`);
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve());
  if (!signal.aborted) await promise;
}

/** Resolves when the text is handed over, so that ending the process does not cut it off, or nobody reads it any more. */
function print(text: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  process.stdout.write(text, (error) => {
    if (error && !hasCode(error, "EPIPE")) reject(new Error("can't write to stdout", { cause: error }));
    else resolve();
  });
  return promise;
}

function paintStdout(colour: Parameters<Paint>[0], text: string): string {
  return styleText(colour, text, { stream: process.stdout });
}
