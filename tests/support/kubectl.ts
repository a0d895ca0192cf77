import { describe } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import type { KubeCluster } from "./kube.ts";
import { kubernetesMissing } from "./kube-binaries.ts";
import type { Netns } from "./netns.ts";

const ROOT = join(import.meta.dir, "..", "..");
const UNPACKED = join(ROOT, ".cache", "debs", "kubernetes-client", "usr", "bin", "kubectl");
const KUBECTL = existsSync(UNPACKED) ? UNPACKED : Bun.which("kubectl");

const Version = v.object({ clientVersion: v.object({ minor: v.string() }) });

/** Says how to get it if it is missing. */
export function kubectlMissing(): string | undefined {
  return KUBECTL === null ? "kubectl; get it with: node scripts/setup.mjs test" : undefined;
}

/** `describe` for tests with kubectl and a real API server. Where there is none, it skips them and says why in one line. */
export function describeWithKubectl(name: string, tests: () => void): void {
  const missing = kubectlMissing() ?? kubernetesMissing();
  if (missing !== undefined) console.error(`skipped: ${name}: needs ${missing}`);
  describe.skipIf(missing !== undefined)(name, tests);
}

/** kubectl as an administrator of a cluster. */
export class Kubectl {
  /** path of a file, which others who need an administrator's rights may use as well */
  readonly kubeconfig: string;
  readonly #ns: Netns | undefined;

  private constructor(kubeconfig: string, ns: Netns | undefined) {
    this.kubeconfig = kubeconfig;
    this.#ns = ns;
  }

  /** @param ns from where the API server is to be reached; else from here */
  static async of(cluster: KubeCluster, ns?: Netns): Promise<Kubectl> {
    const { cert, key } = await cluster.authority.issue("kubectl");
    const user = { kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "kubectl" };
    await cluster.bind("kubectl", user, "cluster-admin");
    return new Kubectl(await cluster.kubeconfig({ "client-certificate": cert, "client-key": key }), ns);
  }

  /** @returns what it printed @throws Error with its stderr if it fails */
  async run(args: readonly string[], input = ""): Promise<string> {
    return kubectl([`--kubeconfig=${this.kubeconfig}`, ...args], input, this.#ns);
  }

  /**
   * Runs a line as an operator types it, in which `kubectl` is this one.
   * @param folder where it runs @returns what it printed @throws Error with its stderr if it fails
   */
  async shell(line: string, folder: string): Promise<string> {
    const script = `kubectl() { "$KUBECTL" "$@"; }\n${line}`;
    const env = {
      PATH: process.env["PATH"] ?? "",
      HOME: "/nonexistent",
      KUBECTL: KUBECTL ?? "",
      KUBECONFIG: this.kubeconfig,
    };
    const child = Bun.spawn(["sh", "-ec", script], {
      cwd: folder,
      env,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    if (code === 0) return stdout;
    throw new Error(`${line}: exit code ${code}: ${stderr.trim()}`);
  }

  /** An object as the API server has it. */
  async get<T>(schema: v.GenericSchema<unknown, T>, ...args: readonly string[]): Promise<T> {
    return v.parse(schema, JSON.parse(await this.run(["get", ...args, "-o=json"])));
  }
}

/** Runs kubectl without a cluster. @throws Error with its stderr if it fails */
export async function kubectl(args: readonly string[], input = "", ns?: Netns): Promise<string> {
  const command = [KUBECTL ?? "kubectl", ...args];
  const child = Bun.spawn(ns?.command(command) ?? command, {
    env: { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent" },
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code === 0) return stdout;
  throw new Error(`kubectl ${args.join(" ")}: exit code ${code}: ${stderr.trim()}`);
}

/** Whether it has Kustomize 2.0.3, the last one with older names for two fields (`bases`, `patchesStrategicMerge`). */
export async function hasOldKustomize(): Promise<boolean> {
  const { clientVersion } = v.parse(Version, JSON.parse(await kubectl(["version", "--client", "-o=json"])));
  return Number.parseInt(clientVersion.minor, 10) <= 20;
}
