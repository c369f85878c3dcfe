//! The motion of a batch, found as the encoder finds it.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use codec_core::frame::{Frame, Plane};
use codec_core::training::entropy::SymbolWriter;
use codec_core::training::flow::{DisFlow, FlowEstimator};
use codec_core::training::motion::search::{BlockSearch, SearchEffort};
use codec_core::training::motion::{BlockCompensator, MotionCoder, PaddedFrame, References};
use codec_core::training::nn::blocks::{BlockHistory, BlockMotion};
use codec_core::training::nn::codec::{InterState, Motion, MotionState};
use codec_core::training::nn::ops::Planes;
use codec_core::training::nn::transfer::{download, upload};
use codec_core::training::nn::uflow::{UFlow, UFlowEstimator};
use codec_core::training::nn::{Estimator, ModelConfig, ParamStore};
use codec_core::training::quality::lambda;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::checkpoint::Checkpoint;

/// Where the flow that the `paper` profile codes comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowSource {
    /// What the model has: UFlow if a stage before gave it one, else dense inverse search.
    #[default]
    Model,
    /// Dense inverse search.
    Dis,
    /// A checkpoint of the stage `flow`.
    UFlow(PathBuf),
}

impl From<&str> for FlowSource {
    /// `dis`, or the path of a checkpoint.
    fn from(text: &str) -> Self {
        if text == "dis" { Self::Dis } else { Self::UFlow(text.into()) }
    }
}

impl FlowSource {
    /// Makes it the flow estimator of a model of the `paper` profile: what it trains with and is exported with. The `rt` profile has
    /// none, and stays as it is.
    ///
    /// # Errors
    /// Naming the checkpoint if it holds no flow network.
    pub fn give_to(&self, model: &mut ModelConfig, params: &mut ParamStore) -> Result<()> {
        let Some(flow) = &mut model.flow else { return Ok(()) };
        match self {
            Self::Model => {}
            Self::Dis => flow.estimator = Estimator::Dis,
            Self::UFlow(path) => {
                let mut trained = Checkpoint::load(path)?.averaged_params();
                UFlow::load(&mut trained, Device::Cpu).with_context(|| path.display().to_string())?;
                trained.taken().for_each(|(name, tensor, _)| params.insert(name, tensor.shallow_clone()));
                flow.estimator = Estimator::UFlow;
            }
        }
        Ok(())
    }
}

/// The flow estimator of a model of the `paper` profile.
fn estimator(model: &ModelConfig, params: &mut ParamStore, device: Device) -> Result<Option<Box<dyn FlowEstimator>>> {
    Ok(match model.estimator() {
        None => None,
        Some(Estimator::Dis) => Some(Box::new(DisFlow::medium())),
        Some(Estimator::UFlow) => Some(Box::new(UFlowEstimator::new(UFlow::load(params, device)?, device))),
    })
}

/// Finds the motion of batches as a model's encoder does.
pub struct MotionFinder {
    method: Method,
    device: Device,
}

enum Method {
    /// Blocks: the encoder's search and compensation.
    Blocks,
    Flow(RefCell<Box<dyn FlowEstimator>>),
}

struct BlockTools {
    search: BlockSearch,
    compensator: BlockCompensator,
    golden: PaddedFrame,
}

impl Default for BlockTools {
    fn default() -> Self {
        let search = BlockSearch::new(SearchEffort::Medium);
        Self { search, compensator: BlockCompensator::default(), golden: PaddedFrame::default() }
    }
}

thread_local! {
    /// Of each thread, so that its buffers stay in its caches.
    static TOOLS: RefCell<BlockTools> = RefCell::default();
}

/// What the block search of one example gives.
struct Searched {
    history: BlockHistory,
    prediction: Frame,
    bits: f32,
}

impl MotionFinder {
    /// `params`: the model's.
    ///
    /// # Errors
    /// If the model has UFlow, but not its parameters.
    pub fn open(model: &ModelConfig, params: &mut ParamStore, device: Device) -> Result<Self> {
        let method = estimator(model, params, device)?.map_or(Method::Blocks, |estimator| Method::Flow(RefCell::new(estimator)));
        Ok(Self { method, device })
    }

    /// Motion from each frame to its reference for examples of these quality indices; without gradient. The search sees 8 bits, as in
    /// the encoder. `previous`: state of the reference, `None` if that is an I-frame, which is then the golden frame, too.
    pub fn find(&self, frame: &Planes, reference: &Planes, qualities: &[u8], previous: Option<&InterState>) -> Result<Motion> {
        match &self.method {
            Method::Blocks => {
                let history = previous.and_then(|previous| match &previous.motion {
                    MotionState::Blocks(blocks) => Some(&blocks.history[..]),
                    MotionState::Flow(_) => None,
                });
                self.blocks(frame, reference, qualities, history)
            }
            Method::Flow(estimator) => self.flow(&mut **estimator.borrow_mut(), frame, reference, qualities),
        }
    }

    fn blocks(&self, frame: &Planes, reference: &Planes, qualities: &[u8], history: Option<&[BlockHistory]>) -> Result<Motion> {
        let (n, _, h, w) = frame.y.size4()?;
        let (height, width) = (h as usize, w as usize);
        let samples = samples(&[&frame.y, &reference.y, &reference.uv])?;
        let (current, rest) = samples.split_at(frame.y.numel());
        let (luma, chroma) = rest.split_at(frame.y.numel());
        let search = |example: usize, tools: &mut BlockTools| -> Result<Searched> {
            let (size, quarter) = (width * height, width * height / 4);
            let plane = Plane::from_vec(current[example * size..][..size].to_vec(), width, height)?;
            let mut reference = Frame::new(width, height);
            let [y, u, v] = reference.planes_mut();
            y.data.copy_from_slice(&luma[example * size..][..size]);
            u.data.copy_from_slice(&chroma[2 * example * quarter..][..quarter]);
            v.data.copy_from_slice(&chroma[(2 * example + 1) * quarter..][..quarter]);
            let BlockTools { search, compensator, golden } = tools;
            let display = (width, height);
            let mut history = match history {
                Some(history) => history[example].clone(),
                None => BlockHistory { coder: MotionCoder::new(width, height), golden: Arc::new(reference.clone()) },
            };
            // A thread's examples take turns.
            if history.coder.track().is_apart() {
                search.set_golden(history.golden.plane(0), display, 1);
            }
            golden.load(&history.golden, display, 1);
            let price = lambda(f64::from(qualities[example]));
            let found = search.search(&plane, reference.plane(0), display, &history.coder, price, 1);
            let mut writer = SymbolWriter::new();
            history.coder.encode(&found.field, &mut writer);
            let field = history.coder.previous().expect("a field was coded");
            let mut prediction = Frame::new(width, height);
            let references = References { last: &reference, golden: Some(golden) };
            compensator.predict(references, display, field, 1, &mut prediction)?;
            Ok(Searched { history, prediction, bits: writer.bits() as f32 })
        };
        let searched = of_examples(n as usize, self.device, |example| TOOLS.with_borrow_mut(|tools| search(example, tools)))?;
        let exact = self.planes(&searched, (n, h, w))?;
        let bits: Vec<f32> = searched.iter().map(|s| s.bits).collect();
        let history = searched.into_iter().map(|s| s.history).collect();
        Ok(Motion::Blocks(BlockMotion::new(history, exact, &bits, self.device)?))
    }

    /// Predictions as tensors.
    fn planes(&self, searched: &[Searched], (n, h, w): (i64, i64, i64)) -> Result<Planes> {
        let gather = |planes: &[usize]| -> Vec<u8> {
            let planes: Vec<&[u8]> =
                searched.iter().flat_map(|s| planes.iter().map(|&i| s.prediction.plane(i).data.as_slice())).collect();
            planes.concat()
        };
        let tensor = |bytes: &[u8], shape: [i64; 4]| -> Result<Tensor> {
            let bytes = upload(&Tensor::f_from_slice(bytes)?, self.device)?.f_view(shape)?;
            Ok(bytes.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?.f_sub_scalar(0.5)?)
        };
        Ok(Planes { y: tensor(&gather(&[0]), [n, 1, h, w])?, uv: tensor(&gather(&[1, 2]), [n, 2, h / 2, w / 2])? })
    }

    fn flow(&self, estimator: &mut dyn FlowEstimator, frame: &Planes, reference: &Planes, qualities: &[u8]) -> Result<Motion> {
        let (n, _, h, w) = frame.y.size4()?;
        let (h, w) = (h as usize, w as usize);
        let samples = samples(&[&frame.y, &reference.y])?;
        let (current, previous) = samples.split_at(frame.y.numel());
        let plane = |data: &[u8], example: usize| Plane::from_vec(data[example * h * w..][..h * w].to_vec(), w, h);
        let mut values = Vec::with_capacity(n as usize * h * w / 8);
        for (example, &quality) in qualities.iter().enumerate() {
            let lambda = lambda(f64::from(quality));
            let field = estimator.estimate(&plane(current, example)?, &plane(previous, example)?, lambda)?;
            values.extend_from_slice(&field.data);
        }
        let field = upload(&Tensor::f_from_slice(&values)?, self.device)?.f_view([n, h as i64 / 4, w as i64 / 4, 2])?;
        Ok(Motion::Flow(field.f_permute([0, 3, 1, 2])?.f_contiguous()?))
    }
}

/// What `work` makes of each of `count` examples of a batch on `device`.
pub(super) fn of_examples<T: Send>(
    count: usize,
    device: Device,
    work: impl Fn(usize) -> Result<T> + Send + Sync,
) -> Result<Vec<T>> {
    // A device waits for all of them; on the CPU every worker has one core.
    if device == Device::Cpu { (0..count).map(work).collect() } else { (0..count).into_par_iter().map(work).collect() }
}

/// Planes of the range -0.5..=0.5 as 8-bit samples, one after the other: in one copy, which waits for the device.
pub(super) fn samples(planes: &[&Tensor]) -> Result<Vec<u8>> {
    tch::no_grad(|| {
        let flat = planes.iter().map(|plane| plane.f_detach()?.f_reshape([-1])).collect::<std::result::Result<Vec<_>, _>>()?;
        let mut all = Tensor::f_cat(&flat, 0)?;
        let scaled = all.f_clamp_(-0.5, 0.5)?.f_add_scalar_(0.5)?.f_mul_scalar_(255.0)?.f_round_()?;
        Ok(download(&scaled.f_to_kind(Kind::Uint8)?)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A smooth texture, and the same moved by four samples to the right.
    fn moved() -> [Planes; 2] {
        let _generator = crate::testing::seeded(5);
        let options = (Kind::Float, Device::Cpu);
        let texture = (Tensor::rand([2, 1, 128, 128], options) - 0.5).avg_pool2d([7, 7], [1, 1], [3, 3], false, true, None) * 3.0;
        let still = Planes { y: texture, uv: Tensor::zeros([2, 2, 64, 64], options) };
        [still.rolled(0, 4).unwrap(), still]
    }

    #[test]
    fn flow_points_from_each_frame_to_its_reference() {
        let [moved, still] = moved();
        let finder = MotionFinder::open(&ModelConfig::paper(), &mut ParamStore::new(), Device::Cpu).unwrap();
        let Motion::Flow(flow) = finder.find(&moved, &still, &[20, 40], None).unwrap() else {
            panic!("the paper profile has a flow")
        };
        assert_eq!(flow.size(), [2, 2, 32, 32]);
        let inner = flow.narrow(2, 8, 16).narrow(3, 8, 16);
        let mean = |part| inner.narrow(1, part, 1).mean(Kind::Float).double_value(&[]);
        assert!((mean(0) + 4.0).abs() < 0.2 && mean(1).abs() < 0.2, "{} {}", mean(0), mean(1));
    }

    #[test]
    fn blocks_predict_with_gradients_where_samples_came_from() {
        let [moved, still] = moved();
        let finder = MotionFinder::open(&ModelConfig::rt(), &mut ParamStore::new(), Device::Cpu).unwrap();
        let reference = Planes { y: still.y.copy().set_requires_grad(true), uv: still.uv.copy().set_requires_grad(true) };
        let Motion::Blocks(blocks) = finder.find(&moved, &reference, &[20, 40], None).unwrap() else { panic!("rt has blocks") };
        let prediction = blocks.predict(&reference).unwrap();
        let inner = |t: &Tensor| t.narrow(2, 16, 96).narrow(3, 16, 96);
        let error = (inner(&prediction.y) - inner(&moved.y)).abs().max().double_value(&[]);
        assert!(error < 1.5 / 255.0, "{error}");
        assert_eq!(prediction.y, blocks.exact.y);
        // One sample of the prediction learns where it came from: four samples to the left.
        prediction.y.get(0).get(0).get(60).get(60).backward();
        let gradient = reference.y.grad();
        assert!((gradient.double_value(&[0, 0, 60, 56]) - 1.0).abs() < 1e-3);
        assert!((gradient.abs().sum(Kind::Float).double_value(&[]) - 1.0).abs() < 1e-2);
        assert!(blocks.bits.min().double_value(&[]) > 0.0);
    }
}
