import { readdirSync } from "node:fs";
import { hasCode } from "../../base/errors.ts";
import { killChildren } from "./child.ts";
import { pluginsOf } from "./cni/plan.ts";
import { ip } from "./ip.ts";
import { isAbandoned, isLabId, labIds, labPath, removeLabFolder } from "./lab-folder.ts";
import { NAMESPACE_PREFIX, namespacePrefix } from "./plan.ts";
import { endProcesses, processesWithArgument, signalAll } from "./processes.ts";

const GRACE_MS = 2_000;

/** What an agent of the lab has in its command line, and nothing else has. */
function agentMark(id: string): string {
  return `--debug-addr=unix:${labPath(id)}/`;
}

/** The same for etcd, for Kubernetes' servers, and for CNI plugins, which end by themselves unless they hang. */
function otherMarks(id: string): string[] {
  return [...["--data-dir", "--cert-dir"].map((flag) => `${flag}=${labPath(id)}/`), pluginsOf(id)];
}

function namespacesOf(prefix: string): string[] {
  try {
    return readdirSync("/run/netns").filter((name) => name.startsWith(prefix));
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

/** Ends a lab's agents, then its servers and plugins, whose data goes with the folder, deletes its namespaces with all that is in them, and its folder last: it marks what is left. */
export async function removeLab(id: string): Promise<void> {
  await endProcesses([agentMark(id)], ["SIGTERM", "SIGKILL"], GRACE_MS);
  await endProcesses(otherMarks(id), ["SIGKILL"], GRACE_MS);
  // One that was just becoming its program had no command line to be known by.
  await killChildren();
  const namespaces = namespacesOf(namespacePrefix(id));
  // Another lab may be at the same left-overs: that one is gone already is no failure.
  await ip(
    namespaces.map((name) => `netns delete ${name}`),
    { force: true },
  );
  const left = namespacesOf(namespacePrefix(id));
  if (left.length > 0)
    throw new Error(`namespaces can't be deleted: ${left.join(", ")}; try: ip netns delete ${left[0]}`);
  removeLabFolder(id);
}

/** Kills a lab's agents, servers and plugins at once; the rest is left to the next lab's start. */
export function killProcesses(id: string): void {
  const marks = [agentMark(id), ...otherMarks(id)];
  signalAll(processesWithArgument(marks), marks, "SIGKILL");
}

/** The ids of labs that were killed and left something. */
export function abandonedLabs(): string[] {
  // Namespaces first: a lab has its folder before it makes the first of them, and keeps it until the last is gone.
  const inUse = namespacesOf(NAMESPACE_PREFIX).map((name) => name.slice(NAMESPACE_PREFIX.length).split("-")[0] ?? "");
  const withFolder = labIds();
  const orphans = inUse.filter((id) => isLabId(id) && !withFolder.includes(id));
  return [...new Set([...orphans, ...withFolder.filter(isAbandoned)])];
}
