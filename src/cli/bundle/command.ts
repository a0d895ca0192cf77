import { closeSync, fchmodSync, openSync, rmSync, writeSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { UsageError } from "../../base/errors.ts";
import { VERSION } from "../../base/version.ts";
import { AGENT_OPTIONS, AgentClient } from "../client.ts";
import { SUBNET_FILE } from "../local-node.ts";
import { type CommandSpec, HELP, optionsHelp, parseOptions } from "../options.ts";
import { print } from "../output.ts";
import { takeAgent } from "./agent-part.ts";
import { Collection } from "./collection.ts";
import { takeKernel } from "./kernel-part.ts";
import { takeNode } from "./node-part.ts";
import { takeRules } from "./rules-part.ts";

/** `tartan support-bundle`: all that helps to find out what is wrong with a node, in one file, without secrets. */

const NET_CONF = "/etc/kube-flannel/net-conf.json";
const CNI_FOLDER = "/etc/cni/net.d";

const path = (usage: string) => ({ value: "PATH", usage, schema: v.optional(v.string()) });

const OPTIONS = {
  file: { short: "f", ...path("the archive, or - for stdout; else tartan-support-NODE-TIME.tar.gz here") },
  "subnet-file": path(`subnet.env; else the agent's, else ${SUBNET_FILE}`),
  "net-config-path": path(`the network's configuration; else the agent's, else ${NET_CONF}`),
  "cni-conf-dir": path(`folder of the CNI configurations; else ${CNI_FOLDER}`),
  ...AGENT_OPTIONS,
  help: HELP,
};
export const SUPPORT_BUNDLE: CommandSpec = { options: OPTIONS, args: {} };

const TEXT = `Usage: tartan support-bundle [OPTION]...

Gathers what helps to find out what is wrong with this node in one .tar.gz: all
of the agent's debug API with its metrics, what tartan doctor finds, interfaces,
addresses, routes and VXLAN entries as the kernel has them, the packet filters'
rules, subnet.env, CNI and network configuration, kernel parameters, versions.
manifest.json in it lists what is there, and what could not be had and why.

Passwords, tokens and private keys are taken out. Look through it before you
hand it on, since addresses and names of nodes are in it. The file is readable
for its owner alone. Without root some parts are missing.

Options:
${optionsHelp(OPTIONS)}

Progress goes to stderr, the archive's path to stdout. Where nothing can be
written, as in the agent's container, --file=- writes the archive to stdout:
  kubectl -n kube-flannel exec POD -- tartan support-bundle -f - > bundle.tar.gz

Exit code: 0 it is written; 1 it can't be written; 2 wrong options.
`;

const parse = (args: readonly string[]) => parseOptions(OPTIONS, args);
type Options = ReturnType<typeof parse>;

/** Finds what is wrong with the node, with these options of tartan doctor. */
type Doctor = (options: readonly string[]) => Promise<unknown>;

const Flags = v.object({
  flags: v.object({ subnetFile: v.optional(v.string()), netConfigPath: v.optional(v.string()) }),
});

/**
 * @returns the exit code
 * @throws UsageError, Error with its cause
 */
export async function runSupportBundle(args: readonly string[], doctor: Doctor): Promise<number> {
  const options = parse(args);
  if (options.help) {
    await print(TEXT);
    return 0;
  }
  const createdAt = new Date();
  const name = `tartan-support-${hostname()}-${createdAt.toISOString().replace(/[-:]|\.\d+/g, "")}`;
  if (options.file === "-") {
    if (process.stdout.isTTY)
      throw new UsageError("--file=- writes an archive, which is nothing for a terminal: send it to a file");
    await print(await gather(name, createdAt, options, doctor));
    return 0;
  }
  const file = options.file ?? join(process.cwd(), `${name}.tar.gz`);
  // First of all: where it can't be written nothing is gathered.
  const fd = create(file);
  try {
    write(fd, await gather(name, createdAt, options, doctor));
  } catch (cause) {
    rmSync(file, { force: true });
    throw new Error(`make ${file}`, { cause });
  } finally {
    closeSync(fd);
  }
  await print(`${file}\n`);
  return 0;
}

async function gather(name: string, createdAt: Date, options: Options, doctor: Doctor): Promise<Uint8Array> {
  const collection = new Collection((what) => process.stderr.write(`tartan: ${what}\n`));
  const cniFolder = options["cni-conf-dir"] ?? CNI_FOLDER;
  // Before the client, which turns proxies off, by which the lease source may be reached.
  await collection.take("doctor.json", "what tartan doctor finds", () => doctor([`--cni-conf-dir=${cniFolder}`]));
  const agent = new AgentClient(options);
  await takeAgent(collection, agent);
  const flags = await flagsOf(agent);
  await takeKernel(collection);
  await takeRules(collection);
  await takeNode(collection, {
    subnetFile: options["subnet-file"] ?? flags.subnetFile ?? SUBNET_FILE,
    netConf: options["net-config-path"] ?? flags.netConfigPath ?? NET_CONF,
    cniFolder,
  });
  const about = { createdAt: createdAt.toISOString(), host: hostname(), executableVersion: VERSION };
  return collection.archive(name, { ...about, agentAt: agent.where ?? null });
}

/** A new file that nobody else can read, whatever the umask. @throws Error if it is there already */
function create(file: string): number {
  try {
    const fd = openSync(file, "wx", 0o600);
    fchmodSync(fd, 0o600);
    return fd;
  } catch (cause) {
    throw new Error(`can't make ${file}; --file=PATH names another place`, { cause });
  }
}

function write(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}

async function flagsOf(agent: AgentClient): Promise<v.InferOutput<typeof Flags>["flags"]> {
  if (agent.where === undefined) return {};
  try {
    return v.parse(Flags, await agent.get("config")).flags;
  } catch {
    // What the agent says of its configuration is in the bundle, or why it says nothing.
    return {};
  }
}
