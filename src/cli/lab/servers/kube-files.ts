import { generateKeyPairSync } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Authority, type Certificate } from "./certificates.ts";

/** The files of an API server. */
export interface ApiServerFiles {
  readonly authority: Authority;
  readonly certificate: Certificate;
  /** key that signs the tokens of service accounts */
  readonly accountKey: string;
  /** file with the administrator's token */
  readonly tokens: string;
}

/**
 * Makes what an API server needs before it starts: certificates, keys, and an administrator with a token.
 * @param addresses where it will be asked, beside 127.0.0.1
 */
export async function makeApiServerFiles(
  folder: string,
  addresses: readonly string[],
  adminToken: string,
  signal?: AbortSignal,
): Promise<ApiServerFiles> {
  mkdirSync(folder, { recursive: true });
  const authority = await Authority.create(folder, "cluster-ca", signal);
  const names = [...addresses.map((address) => `IP:${address}`), "IP:127.0.0.1", "DNS:kubernetes"];
  const certificate = await authority.issue("apiserver", names, signal);
  const accountKey = join(folder, "sa.key");
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await Bun.write(accountKey, privateKey.export({ type: "sec1", format: "pem" }));
  const tokens = join(folder, "tokens.csv");
  await Bun.write(tokens, `${adminToken},admin,1,"system:masters"\n`);
  return { authority, certificate, accountKey, tokens };
}
