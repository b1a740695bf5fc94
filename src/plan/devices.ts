// Devices as dated records: memory, bandwidth, dense throughput of each number type that the hardware multiplies, power
// and prices. Throughputs are vendors' dense peaks (no sparsity). Prices are rounded public list prices of the named
// date; every figure can be overridden.

/** Number types that hardware multiplies. */
export type ComputeType = 'bf16' | 'fp8' | 'int8' | 'fp4' | 'int4'

/** One device. */
export interface Device {
  name: string
  kind: 'datacentre' | 'tpu' | 'consumer' | 'apple' | 'cpu'
  /** Bytes. */
  memory: number
  /** Bytes a second. */
  bandwidth: number
  /** Dense operations a second; a type that is absent is not accelerated (bf16: or fp16 where there is no bf16). */
  flops: Readonly<Partial<Record<ComputeType, number>> & { bf16: number }>
  /** Watts at full load. */
  watts: number
  price: {
    /** Dollars to buy one; null: not sold. */
    buy: number | null
    /** Dollars an hour to rent one; null: not rented. */
    rent: number | null
    date: string
    source: string
  }
  source: string
}

const GB = 1e9
const T = 1e12

type Row = [
  name: string, kind: Device['kind'], gigabytes: number, gigabytesPerSecond: number,
  teraflops: { bf16: number; fp8?: number; int8?: number; fp4?: number; int4?: number },
  watts: number, buy: number | null, rent: number | null, source: string,
] // biome-ignore format: the columns of the table below

const GPU_PRICES = 'rounded public on-demand and retail list prices'
const TPU_PRICES = 'cloud.google.com/tpu/pricing, on demand, us regions'

// biome-ignore format: a table
const ROWS: readonly Row[] = [
  ['v100-32gb', 'datacentre', 32, 900, { bf16: 125 }, 300, 3000, 0.6, 'NVIDIA V100 datasheet (fp16)'],
  ['t4', 'datacentre', 16, 320, { bf16: 65, int8: 130, int4: 260 }, 70, 900, 0.35, 'NVIDIA T4 datasheet (fp16)'],
  ['a10', 'datacentre', 24, 600, { bf16: 125, int8: 250, int4: 500 }, 150, 2800, 0.75, 'NVIDIA A10 datasheet'],
  ['a100-40gb', 'datacentre', 40, 1555, { bf16: 312, int8: 624, int4: 1248 }, 400, 8000, 1.3, 'NVIDIA A100 datasheet'],
  ['a100-80gb', 'datacentre', 80, 2039, { bf16: 312, int8: 624, int4: 1248 }, 400, 15000, 1.8, 'NVIDIA A100 datasheet'],
  ['l4', 'datacentre', 24, 300, { bf16: 121, fp8: 242, int8: 242 }, 72, 2500, 0.7, 'NVIDIA L4 datasheet'],
  ['l40s', 'datacentre', 48, 864, { bf16: 362, fp8: 733, int8: 733, int4: 733 }, 350, 7500, 1.0, 'NVIDIA L40S datasheet'],
  ['h100-pcie', 'datacentre', 80, 2000, { bf16: 756, fp8: 1513, int8: 1513 }, 350, 25000, 2.4, 'NVIDIA H100 datasheet'],
  ['h100', 'datacentre', 80, 3350, { bf16: 989, fp8: 1979, int8: 1979 }, 700, 30000, 2.9, 'NVIDIA H100 datasheet (SXM)'],
  ['h200', 'datacentre', 141, 4800, { bf16: 989, fp8: 1979, int8: 1979 }, 700, 35000, 3.6, 'NVIDIA H200 datasheet (SXM)'],
  ['b200', 'datacentre', 180, 7700, { bf16: 2250, fp8: 4500, int8: 4500, fp4: 9000 }, 1000, 45000, 5.0, 'NVIDIA HGX B200 datasheet'],
  ['gb200', 'datacentre', 186, 8000, { bf16: 2500, fp8: 5000, int8: 5000, fp4: 10000 }, 1200, 60000, 6.0, 'NVIDIA GB200 NVL72 datasheet, a GPU'],
  ['b300', 'datacentre', 270, 7700, { bf16: 2250, fp8: 4500, fp4: 13500 }, 1100, 53000, 6.3, 'NVIDIA HGX B300 datasheet'],
  ['mi250x', 'datacentre', 128, 3277, { bf16: 383, int8: 383 }, 560, 8000, 1.3, 'AMD Instinct MI250X datasheet'],
  ['mi300x', 'datacentre', 192, 5300, { bf16: 1307, fp8: 2615, int8: 2615 }, 750, 15000, 2.2, 'AMD Instinct MI300X datasheet'],
  ['mi325x', 'datacentre', 256, 6000, { bf16: 1307, fp8: 2615, int8: 2615 }, 1000, 20000, 2.6, 'AMD Instinct MI325X datasheet'],
  ['mi355x', 'datacentre', 288, 8000, { bf16: 2517, fp8: 5033, int8: 5033, fp4: 10066 }, 1400, 30000, 4.0, 'AMD Instinct MI355X datasheet'],
  ['gaudi3', 'datacentre', 128, 3700, { bf16: 1835, fp8: 1835 }, 900, 16000, 2.5, 'Intel Gaudi 3 white paper'],
  ['tpu-v4', 'tpu', 32, 1228, { bf16: 275, int8: 275 }, 192, null, 3.22, 'Google Cloud TPU v4 documentation'],
  ['tpu-v5e', 'tpu', 16, 819, { bf16: 197, int8: 393 }, 220, null, 1.2, 'Google Cloud TPU v5e documentation'],
  ['tpu-v5p', 'tpu', 95, 2765, { bf16: 459, int8: 918 }, 450, null, 4.2, 'Google Cloud TPU v5p documentation'],
  ['tpu-v6e', 'tpu', 32, 1638, { bf16: 918, int8: 1836 }, 300, null, 2.7, 'Google Cloud TPU v6e documentation'],
  ['tpu-v7', 'tpu', 192, 7370, { bf16: 2307, fp8: 4614 }, 960, null, 12, 'Google Cloud TPU7x documentation'],
  ['rtx-3060', 'consumer', 12, 360, { bf16: 51, int8: 102, int4: 204 }, 170, 280, 0.1, 'NVIDIA GA10x white paper'],
  ['rtx-3090', 'consumer', 24, 936, { bf16: 71, int8: 284, int4: 568 }, 350, 900, 0.25, 'NVIDIA GA102 white paper'],
  ['rtx-4090', 'consumer', 24, 1008, { bf16: 165, fp8: 330, int8: 661, int4: 1321 }, 450, 2000, 0.45, 'NVIDIA Ada white paper'],
  ['rtx-5090', 'consumer', 32, 1792, { bf16: 210, fp8: 419, int8: 838, fp4: 1676 }, 575, 2900, 0.75, 'NVIDIA RTX Blackwell white paper'],
  ['rtx-6000-ada', 'consumer', 48, 960, { bf16: 364, fp8: 728, int8: 728, int4: 1457 }, 300, 7000, 0.8, 'NVIDIA Ada white paper'],
  ['rtx-pro-6000', 'consumer', 96, 1792, { bf16: 504, fp8: 1007, int8: 1007, fp4: 2015 }, 600, 8500, 1.8, 'NVIDIA RTX Blackwell PRO white paper'],
  ['dgx-spark', 'consumer', 128, 273, { bf16: 125, fp8: 250, fp4: 500 }, 140, 4000, null, 'NVIDIA DGX Spark datasheet'],
  ['rx-7900-xtx', 'consumer', 24, 960, { bf16: 123, int8: 123, int4: 246 }, 355, 900, 0.3, 'AMD RX 7900 XTX datasheet'],
  ['m2-ultra', 'apple', 192, 800, { bf16: 27 }, 295, 6500, null, 'Apple Mac Studio 2023 specifications'],
  ['m3-ultra', 'apple', 512, 819, { bf16: 28 }, 270, 9500, null, 'Apple Mac Studio 2025 specifications'],
  ['m4-max', 'apple', 128, 546, { bf16: 18 }, 140, 3700, null, 'Apple Mac Studio 2025 specifications'],
  ['m4-pro', 'apple', 48, 273, { bf16: 9 }, 75, 1800, null, 'Apple Mac mini 2024 specifications'],
  ['epyc-9654', 'cpu', 768, 461, { bf16: 15, int8: 29 }, 360, 11800, 3.0, 'AMD EPYC 9004 data sheet; 64 bf16 and 128 int8 operations a cycle a core'],
  ['xeon-8480', 'cpu', 512, 307, { bf16: 115, int8: 229 }, 350, 10700, 2.5, 'Intel Xeon 8480+ data sheet; AMX 1024 bf16 and 2048 int8 operations a cycle a core'],
  ['ryzen-7950x', 'cpu', 128, 83, { bf16: 4.6, int8: 9.2 }, 170, 550, null, 'AMD Ryzen 9 7950X specifications; 64 bf16 operations a cycle a core'],
]

/** All devices. */
export const DEVICES: readonly Device[] = ROWS.map(
  ([name, kind, gigabytes, gigabytesPerSecond, teraflops, watts, buy, rent, source]) => ({
    name,
    kind,
    memory: gigabytes * GB,
    bandwidth: gigabytesPerSecond * GB,
    flops: Object.fromEntries(Object.entries(teraflops).map(([type, value]) => [type, value * T])) as Device['flops'],
    watts,
    price: { buy, rent, date: '2025-11', source: kind === 'tpu' ? TPU_PRICES : GPU_PRICES },
    source,
  }),
)

/** Bits of each compute type, widest first. */
const TYPE_BITS: readonly (readonly [ComputeType, number])[] = [['bf16', 16], ['fp8', 8], ['int8', 8], ['fp4', 4], ['int4', 4]] // biome-ignore format: a table

/** The fastest type of a device that holds operands of so many bits exactly enough (at least as wide), with its operations a second. */
export function fastestType(device: Device, bits: number): { type: ComputeType; flops: number } {
  let best: { type: ComputeType; flops: number } = { type: 'bf16', flops: device.flops.bf16 }
  for (const [type, width] of TYPE_BITS) {
    const flops = device.flops[type]
    if (flops !== undefined && width >= bits && flops > best.flops) best = { type, flops }
  }
  return best
}
