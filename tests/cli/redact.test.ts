import { describe, expect, test } from "bun:test";
import { redact } from "../../src/cli/bundle/redact.ts";

/** What must not be in a bundle; each with a mark that is looked for. */
const SECRETS: readonly [what: string, text: string][] = [
  ["a JSON password", '{"password": "hunter2-MARK"}'],
  ["a JSON password with quotes in it", '{"etcdPassword":"hunter2\\"-MARK"}'],
  ["a JSON token", '{ "service_account_token" : "MARK" }'],
  ["JSON's nested key data", '{"user": {"client-key-data": "LS0tLS1CRUdJTiBSU0EMARK"}}'],
  ["a YAML password", "password: MARK"],
  ["an environment file", "FLANNELD_ETCD_PASSWORD=MARK\nA=b"],
  ["a quoted value of an environment file", 'ETCD_PASSWORD="two MARK words"'],
  ["a flag", "tartan --etcd-password=MARK --etcd-prefix=/x"],
  ["a flag whose value is a word of its own", "tartan --etcd-password MARK --etcd-prefix=/x"],
  ["a pre-shared key of flannel's backend ipsec", '{"Backend": {"Type": "ipsec", "PSK": "MARK"}}'],
  ["a pre-shared key of WireGuard", "PresharedKey = MARK"],
  ["a private key", "-----BEGIN EC PRIVATE KEY-----\nMARK\n-----END EC PRIVATE KEY-----"],
  ["a private key in JSON", '"key": "-----BEGIN PRIVATE KEY-----\\nMARK\\n-----END PRIVATE KEY-----\\n"'],
  ["half a private key", "-----BEGIN RSA PRIVATE KEY-----\nMARK\nMARK"],
  ["a bearer token", "Authorization: Bearer abcdef.MARK"],
  ["a header of basic authentication", "authorization: Basic dXNlcjpNQVJLMARK"],
  ["a service account's token", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJNQVJLMARK.c2lnbmF0dXJl"],
  ["a kubeadm token", "abcdef.0123456789abcdef"],
  ["a URL's password", "https://root:MARK@192.0.2.11:2379/v3"],
  ["a URL's token for a user", "see http://MARK@proxy.example.org:3128"],
];

describe("a bundle has no", () => {
  test.each(SECRETS)("%s", (what, secret) => {
    const { text, hidden } = redact(`before\n${secret}\nafter`);
    expect(text).not.toContain(what === "a kubeadm token" ? "0123456789abcdef" : "MARK");
    expect(text).toContain("[secret]");
    expect(text).toStartWith("before\n");
    expect(hidden).toBeGreaterThan(0);
    // What was taken out stays out, and is not counted again.
    expect(redact(text)).toEqual({ text, hidden: 0 });
  });
});

test("what is no secret stays as it is", () => {
  const text = [
    '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}, "etcd-password": "[secret]", "tokens": 3}',
    "FLANNEL_NETWORK=10.244.0.0/16",
    "https://192.0.2.11:2379",
    "10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink",
    "c6:ec:a2:b8:fa:91 at 192.0.2.2, mail to someone@example.org",
    "0.1.0+1a2b3c4d5e6f",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "etcd-keyfile=/etc/etcd/key.pem",
  ].join("\n");
  expect(redact(text)).toEqual({ text, hidden: 0 });
});
