import { chmodSync, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ENVIRONMENT, onPath } from "../command.ts";
import type { LeaseKind } from "../lease-plan.ts";

/** Finds the servers that leases can be kept in. Nothing is downloaded. */

const ETCD = ["etcd", "etcdctl"] as const;
const KUBE = ["kube-apiserver", "kube-controller-manager"] as const;
/** What makes a whole cluster of it, which the tests run. */
export const REST_OF_KUBE = ["kube-scheduler", "kubelet", "kube-proxy"] as const;
type EtcdCommand = (typeof ETCD)[number];
export type KubeCommand = (typeof KUBE | typeof REST_OF_KUBE)[number];
export type ServerCommand = EtcdCommand | KubeCommand;

/** The packages of Debian that etcd's commands are in. */
const PACKAGES: Readonly<Record<EtcdCommand, string>> = { etcd: "etcd-server", etcdctl: "etcd-client" };

/** What each lease source needs. */
const NEEDS: Readonly<Record<LeaseKind, readonly ServerCommand[]>> = {
  embedded: [],
  etcd: ETCD,
  kube: [...KUBE, ...ETCD],
};

/** Where to look. */
export interface Places {
  /** KUBEBUILDER_ASSETS: a folder with servers, as envtest has it; Kubernetes' own are then taken from there alone */
  readonly assets?: string | undefined;
  /** of this project, with what its scripts have put into .cache */
  readonly checkout?: string | undefined;
}

/** The variable by which `npm run lab` tells the executable where its checkout is. */
const CHECKOUT_VARIABLE = "TARTAN_CHECKOUT";

export function placesFrom(environment: Readonly<Record<string, string | undefined>>): Places {
  return {
    assets: environment["KUBEBUILDER_ASSETS"] || undefined,
    checkout: environment[CHECKOUT_VARIABLE] || undefined,
  };
}

function isEtcd(name: ServerCommand): name is EtcdCommand {
  return Object.hasOwn(PACKAGES, name);
}

function cacheOf(checkout: string): string {
  return join(checkout, ".cache", "envtest");
}

/** @returns the path of a server's executable, or undefined if it is nowhere */
export function findServer(name: ServerCommand, { assets, checkout }: Places): string | undefined {
  const inFolder = (...folders: readonly string[]) => {
    const path = join(...folders, name);
    return existsSync(path) ? path : undefined;
  };
  const named = assets === undefined ? undefined : inFolder(assets);
  if (isEtcd(name)) {
    return named ?? (checkout && inFolder(checkout, ".cache", "debs", PACKAGES[name], "usr", "bin")) ?? onPath(name);
  }
  if (assets !== undefined) return named;
  return checkout === undefined ? undefined : inFolder(cacheOf(checkout));
}

/** What a lease source needs and is nowhere. */
export function missingServers(kind: LeaseKind, places: Places): ServerCommand[] {
  return NEEDS[kind].filter((name) => findServer(name, places) === undefined);
}

/** What is missing and how to get it, in one line. */
export function adviceFor(missing: readonly ServerCommand[], { assets }: Places): string {
  const etcd = missing.filter(isEtcd);
  const kube = missing.filter((name) => !isEtcd(name));
  const parts: string[] = [];
  if (kube.length > 0) {
    const built = "'npm run envtest' in a checkout of tartan builds them for 'npm run lab' there, in ten minutes";
    const how =
      assets === undefined
        ? `${built}; or name a folder that has them in KUBEBUILDER_ASSETS`
        : `KUBEBUILDER_ASSETS is ${assets}, which lacks them; without it, ${built}`;
    parts.push(`${kube.join(", ")} (${how})`);
  }
  if (etcd.length > 0) {
    const packages = etcd.map((name) => PACKAGES[name]).join(" ");
    const how = `'npm run lab' in a checkout of tartan brings them; or, on Debian: apt install ${packages}`;
    parts.push(`${etcd.join(", ")} (${how})`);
  }
  return parts.join(", ");
}

/** Gives the path of a server that was found. @throws Error for one that was not asked for */
export type ServerPaths = (name: ServerCommand) => string;

/**
 * Finds what a lease source needs; unpacks Kubernetes' servers if the checkout has none but they lie packed beside it.
 * @param tell for a line of progress
 * @throws Error with one line that names what is missing and how to get it, or the signal's reason
 */
export async function requireServers(
  kind: LeaseKind,
  places: Places,
  tell: (text: string) => void,
  signal: AbortSignal,
): Promise<ServerPaths> {
  if (kind === "kube") await unpackServers(places, tell, signal);
  const missing = missingServers(kind, places);
  if (missing.length > 0) throw new Error(`missing for --lease ${kind}: ${adviceFor(missing, places)}`);
  const paths = new Map(NEEDS[kind].map((name) => [name, findServer(name, places)]));
  return (name) => {
    const path = paths.get(name);
    if (path === undefined) throw new Error(`--lease ${kind} does not use ${name}`);
    return path;
  };
}

/**
 * Unpacks Kubernetes' servers into the checkout's cache if they are not there but packed in ../shared/envtest.
 * @throws Error that names the file that can't be unpacked, or xz's package
 */
export async function unpackServers(
  places: Places,
  tell: (text: string) => void,
  signal?: AbortSignal,
  names: readonly KubeCommand[] = KUBE,
): Promise<void> {
  const { assets, checkout } = places;
  if (assets !== undefined || checkout === undefined) return;
  const cache = cacheOf(checkout);
  for (const name of names) {
    const packed = join(checkout, "..", "shared", "envtest", `${name}.xz`);
    if (findServer(name, places) !== undefined || !existsSync(packed)) continue;
    tell(`unpacking ${packed} into ${cache}`);
    mkdirSync(cache, { recursive: true });
    await unpack(packed, join(cache, name), signal);
  }
}

async function unpack(packed: string, target: string, signal?: AbortSignal): Promise<void> {
  const xz = onPath("xz");
  if (xz === undefined) throw new Error(`xz is needed to unpack ${packed}; on Debian: apt install xz-utils`);
  signal?.throwIfAborted();
  const temporary = `${target}.${process.pid}`;
  try {
    const child = Bun.spawn([xz, "-dc", packed], {
      stdin: "ignore",
      stdout: Bun.file(temporary),
      stderr: "pipe",
      env: ENVIRONMENT,
      detached: true,
    });
    const kill = () => child.kill("SIGKILL");
    signal?.addEventListener("abort", kill);
    const [stderr, code] = await Promise.all([child.stderr.text(), child.exited]);
    signal?.removeEventListener("abort", kill);
    signal?.throwIfAborted();
    if (code !== 0) throw new Error(`${packed} can't be unpacked: ${stderr.trim() || `exit code ${code}`}`);
    chmodSync(temporary, 0o755);
    renameSync(temporary, target);
  } finally {
    rmSync(temporary, { force: true });
  }
}
