import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { UsageError } from "../base/errors.ts";
import { mustBe } from "../config/schema.ts";
import { assignmentsIn } from "../config/subnet-env.ts";
import { formatPrefix, makePrefix, splitCidr } from "../net/prefix.ts";
import { type CommandSpec, HELP as HELP_OPTION, type OptionSpec, SWITCH } from "./options.ts";

/** `tartan docker-opts`: options for Docker's daemon from subnet.env, as flannel's mk-docker-opts.sh writes them. */

export interface DockerOptions {
  /** subnet.env */
  readonly input: string;
  readonly output: string;
  readonly individual: boolean;
  readonly combined: boolean;
  /** name of the combined option */
  readonly key: string;
  readonly ipMasq: boolean;
  readonly help: boolean;
}

const HELP = `Usage: tartan docker-opts [OPTION]...

Writes options for Docker's daemon, made from the agent's subnet.env, to a file
that a systemd unit can read (EnvironmentFile=). Options and output are those
of flannel's mk-docker-opts.sh.

Options:
  -f FILE     subnet.env; /run/flannel/subnet.env if not given
  -d FILE     where to write; /run/docker_opts.env if not given
  -i          write each option by itself, as in DOCKER_OPT_MTU="--mtu=1450"
  -c          write all options into one, DOCKER_OPTS; -i and -c if neither
              is given. What the environment has in it stands in front
  -k NAME     name of that one in place of DOCKER_OPTS
  -m          leave --ip-masq out
  -h, --help  show this help

Exit code: 0 written; 1 subnet.env can't be read or used, or another route to
the subnet is there; 2 wrong options.
`;

const FLAGS = {
  f: { type: "string", short: "f" },
  d: { type: "string", short: "d" },
  i: { type: "boolean", short: "i" },
  c: { type: "boolean", short: "c" },
  k: { type: "string", short: "k" },
  m: { type: "boolean", short: "m" },
  help: { type: "boolean", short: "h" },
} as const;

/** For completions; parsing is the script's, where letters stand together. */
export const DOCKER_OPTS = {
  options: {
    f: { value: "FILE", usage: "subnet.env", schema: v.optional(v.string()) },
    d: { value: "FILE", usage: "where to write", schema: v.optional(v.string()) },
    i: { usage: "write each option by itself", schema: SWITCH },
    c: { usage: "write all options into one", schema: SWITCH },
    k: { value: "NAME", usage: "name of that one", schema: v.optional(v.string()) },
    m: { usage: "leave --ip-masq out", schema: SWITCH },
    help: HELP_OPTION,
  } satisfies Record<keyof typeof FLAGS, OptionSpec>,
  args: {},
} as const satisfies CommandSpec;

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Docker's options in the order in which they are written. */
const OPTION_NAMES = ["DOCKER_OPT_BIP", "DOCKER_OPT_IPMASQ", "DOCKER_OPT_MTU"] as const;

/** @throws UsageError */
export function parseDockerOptions(args: readonly string[]): DockerOptions {
  const { values } = parsedArgs(args);
  const { f: input = "/run/flannel/subnet.env", d: output = "/run/docker_opts.env", k: key = "DOCKER_OPTS" } = values;
  if (!NAME.test(key))
    throw new UsageError(`-k must be a variable's name such as DOCKER_OPTS, not ${JSON.stringify(key)}`);
  const neither = !values.i && !values.c;
  return {
    input,
    output,
    key,
    individual: neither || values.i === true,
    combined: neither || values.c === true,
    ipMasq: values.m !== true,
    help: values.help === true,
  };
}

function parsedArgs(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: FLAGS,
    });
  } catch (cause) {
    throw new UsageError(
      `${cause instanceof Error ? cause.message : cause}; tartan docker-opts --help lists the options`,
      {
        cause,
      },
    );
  }
}

const ForDocker = v.object({
  FLANNEL_SUBNET: v.optional(
    v.pipe(
      v.string(),
      v.check((text) => splitCidr(text) !== undefined, "must be an address with a prefix length"),
    ),
  ),
  FLANNEL_MTU: v.optional(v.pipe(v.string(), v.regex(/^\d+$/, mustBe("a number of bytes")))),
  FLANNEL_IPMASQ: v.optional(v.picklist(["true", "false"], mustBe("true or false"))),
});
export type ForDocker = v.InferOutput<typeof ForDocker>;

/** What Docker needs of a subnet.env, whatever else it has or lacks. @throws Error that names the line's key */
export function parseForDocker(text: string): ForDocker {
  const result = v.safeParse(ForDocker, assignmentsIn(text));
  if (!result.success) throw new Error(`${v.getDotPath(result.issues[0])} ${result.issues[0].message}`);
  if (result.output.FLANNEL_SUBNET === undefined && result.output.FLANNEL_MTU === undefined) {
    throw new Error("it has neither FLANNEL_SUBNET nor FLANNEL_MTU");
  }
  return result.output;
}

/** The text to write. @param before what the combined option has in the environment */
export function renderDockerOptions(env: ForDocker, options: DockerOptions, before: string): string {
  const { FLANNEL_SUBNET: subnet, FLANNEL_MTU: mtu, FLANNEL_IPMASQ: ipMasq } = env;
  const values: Readonly<Record<(typeof OPTION_NAMES)[number], string | undefined>> = {
    DOCKER_OPT_BIP: subnet && `--bip=${subnet}`,
    // Where the agent masquerades, Docker must not.
    DOCKER_OPT_IPMASQ: ipMasq && options.ipMasq ? `--ip-masq=${ipMasq !== "true"}` : undefined,
    DOCKER_OPT_MTU: mtu && `--mtu=${mtu}`,
  };
  const given = OPTION_NAMES.flatMap((name) => (values[name] === undefined ? [] : [{ name, value: values[name] }]));
  const lines = options.individual ? given.map(({ name, value }) => `${name}="${value}"\n`) : [];
  // Byte for byte as the script: a blank before each, and one more behind what was there.
  const all = `${before && `${before} `}${given.map(({ value }) => ` ${value}`).join("")}`;
  if (options.combined) lines.push(`${options.key}="${all}"\n`);
  return lines.join("");
}

/**
 * A route by way of another host for just this subnet, which would take the place of Docker's bridge.
 * @param routes the text of /proc/net/route
 * @returns the gateway's address
 */
export function foreignRoute(subnet: string, routes: string): string | undefined {
  const cidr = splitCidr(subnet);
  if (cidr === undefined) return undefined;
  const wanted = formatPrefix(makePrefix(cidr.address, cidr.length));
  for (const line of routes.split("\n").slice(1)) {
    const [, destination = "", gateway = "", , , , , mask = ""] = line.split("\t");
    if (!/^[\dA-F]{8}$/.test(destination) || /^0*$/.test(gateway)) continue;
    const length = [...Number.parseInt(mask, 16).toString(2)].filter((bit) => bit === "1").length;
    if (`${dotted(destination)}/${length}` === wanted) return dotted(gateway);
  }
  return undefined;
}

/** An address of /proc/net/route, which has it as a number of the machine's byte order, little-endian on all that we run on. */
function dotted(hex: string): string {
  return [6, 4, 2, 0].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join(".");
}

/** @returns the exit code @throws UsageError, Error with its cause */
export function runDockerOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): number {
  const options = parseDockerOptions(args);
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const env = readSubnetEnv(options.input);
  try {
    writeFileSync(options.output, renderDockerOptions(env, options, environment[options.key] ?? ""));
  } catch (cause) {
    throw new Error(`write ${options.output}`, { cause });
  }
  const subnet = env.FLANNEL_SUBNET;
  const gateway = subnet && foreignRoute(subnet, readFileSync("/proc/net/route", "utf8"));
  if (!gateway) return 0;
  throw new Error(`there is a route to the subnet of ${subnet} via ${gateway}, which Docker's bridge needs: remove it`);
}

function readSubnetEnv(path: string): ForDocker {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new Error(`${path} can't be read; the agent writes it once it has its subnet`, { cause });
  }
  try {
    return parseForDocker(text);
  } catch (cause) {
    throw new Error(`${path} can't be used`, { cause });
  }
}
