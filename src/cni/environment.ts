import { CniError, CODE } from "./errors.ts";

/** What the runtime says in the environment (CNI specification, "Parameters"). */

export type Environment = Readonly<Record<string, string | undefined>>;

const ATTACHMENT = ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"];

/** What each verb can't do without. DEL comes without CNI_NETNS when the network namespace is gone. */
const NEEDED = {
  ADD: [...ATTACHMENT, "CNI_NETNS"],
  CHECK: [...ATTACHMENT, "CNI_NETNS"],
  DEL: ATTACHMENT,
  STATUS: ["CNI_PATH"],
  GC: ["CNI_PATH"],
  VERSION: [],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type Verb = keyof typeof NEEDED;

const invalid = (message: string) => new CniError(message, { code: CODE.invalidEnvironment });

/** One network interface of one container. */
export interface Attachment {
  readonly containerId: string;
  readonly ifName: string;
  /** path; empty if the network namespace is gone */
  readonly netns: string;
}

/** @throws CniError 4 */
export function readVerb(environment: Environment): Verb {
  const verb = environment["CNI_COMMAND"] ?? "";
  if (!isVerb(verb)) {
    const verbs = Object.keys(NEEDED).join(", ");
    throw invalid(`CNI_COMMAND is ${JSON.stringify(verb)}, not one of ${verbs}`);
  }
  const missing = NEEDED[verb].filter((name) => !environment[name]);
  if (missing.length > 0) {
    throw invalid(`${verb} needs in the environment: ${missing.join(", ")}`);
  }
  return verb;
}

function isVerb(text: string): text is Verb {
  return Object.hasOwn(NEEDED, text);
}

/** @throws CniError 4: both names become parts of paths */
export function readAttachment(environment: Environment): Attachment {
  const { CNI_CONTAINERID: containerId = "", CNI_IFNAME: ifName = "", CNI_NETNS: netns = "" } = environment;
  if (!isContainerId(containerId)) {
    throw invalid(`CNI_CONTAINERID ${JSON.stringify(containerId)} is no container id`);
  }
  if (!isInterfaceName(ifName)) {
    throw invalid(`CNI_IFNAME ${JSON.stringify(ifName)} is no name of an interface`);
  }
  return { containerId, ifName, netns };
}

export function isContainerId(text: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(text);
}

function isInterfaceName(text: string): boolean {
  // dev_valid_name in the kernel; the length is IFNAMSIZ less its end
  return text.length <= 15 && text !== "." && text !== ".." && /^[^\s/:]+$/.test(text);
}

/** The folders with plugins. */
export function pluginFolders(environment: Environment): string[] {
  return (environment["CNI_PATH"] ?? "").split(":").filter(Boolean);
}
