//! From a model's postfilter to a larger one that starts as the same filter.

use anyhow::{Context, Result, ensure};
use codec_core::training::nn::{Network, Networks, PostfilterConfig};
use tch::{Device, Tensor};

use super::checkpoint::Checkpoint;

/// The start of a parameter of the larger filter: `old` in the corner, nothing beside it in the rows of old outputs, and new rows as in
/// `fresh`.
fn widened(old: &Tensor, fresh: &Tensor) -> Result<Tensor> {
    let out = fresh.copy();
    let size = old.size();
    let _ = out.f_narrow(0, 0, size[0])?.f_zero_()?;
    let corner =
        size.iter().enumerate().try_fold(out.shallow_clone(), |part, (dim, &size)| part.f_narrow(dim as i64, 0, size))?;
    corner.shallow_clone().f_copy_(old)?;
    Ok(out)
}

/// Whether a parameter, named as in a checkpoint, belongs to the end of a residual branch of a block from `blocks` on.
fn ends_new_branch(name: &str, blocks: usize) -> bool {
    let block = name.strip_prefix(Network::Postfilter.path()).and_then(|rest| rest.strip_prefix(".blocks."));
    block.and_then(|block| block.split_once('.')).is_some_and(|(number, part)| {
        number.parse::<usize>().is_ok_and(|number| number >= blocks)
            && (part.starts_with("mix_out.") || part.starts_with("project."))
    })
}

impl Checkpoint {
    /// Gives the postfilter so many channels and, if said, blocks. It shows what it showed before: nothing that is new has an effect
    /// until training gives it one.
    ///
    /// # Errors
    /// If there is no postfilter or it is larger already, if the new size is beyond the limits, or if the parameters do not fit.
    pub fn widen_postfilter(&mut self, width: i64, blocks: Option<usize>) -> Result<()> {
        let old = self.progress.model.clone();
        let before = old.postfilter.clone();
        let before = before
            .context("start.widen-postfilter: the initial model has no postfilter; say start.fresh-postfilter for a new one")?;
        let after = PostfilterConfig { width, blocks: blocks.unwrap_or(before.blocks), ..before.clone() };
        ensure!(
            after.width >= before.width && after.blocks >= before.blocks,
            "start.widen-postfilter = {{ width = {}, blocks = {} }}: the initial filter has {} blocks of width {}, and can only grow",
            after.width,
            after.blocks,
            before.blocks,
            before.width,
        );
        if after == before {
            return Ok(());
        }
        let mut new = old.clone();
        new.postfilter = Some(after);
        new.validate().context("start.widen-postfilter")?;
        let mut known = self.averaged_params();
        Networks::load(&mut known, &old, Device::Cpu)?;
        self.forget(Network::Postfilter, &old)?;
        // All but the filter is there, and stays as it is.
        let mut params = self.averaged_params();
        Networks::init(&mut params, &new, Device::Cpu)?;
        let filter = params.taken().filter(|(_, _, role)| role.network == Network::Postfilter);
        let mut values = Vec::new();
        tch::no_grad(|| -> Result<()> {
            for (name, fresh, _) in filter {
                let value = match known.get(name) {
                    Some(old) => widened(old, fresh)?,
                    None if ends_new_branch(name, before.blocks) => fresh.f_zeros_like()?,
                    None => fresh.copy(),
                };
                values.push((name.to_owned(), value));
            }
            Ok(())
        })?;
        self.become_model(new, values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use codec_core::training::nn::codec::quality_tensor;
    use codec_core::training::nn::{ModelConfig, ParamStore, whole};
    use tch::Kind;

    use super::*;
    use crate::train::starting_point;

    /// A filter all of whose layers do something.
    fn start() -> Checkpoint {
        let postfilter = Some(PostfilterConfig { width: 8, blocks: 2, recurrent: true });
        let model = ModelConfig { postfilter, ..ModelConfig::rt_with(8, 4) };
        let mut params = ParamStore::new();
        Networks::init(&mut params, &model, Device::Cpu).unwrap();
        for (_, tensor, _) in params.taken().filter(|(_, _, role)| role.network == Network::Postfilter) {
            let _ = tch::no_grad(|| tensor.shallow_clone().uniform_(-0.3, 0.3));
        }
        starting_point(model, &params)
    }

    /// What the filter of a checkpoint wants done to a frame, and its parameters.
    fn map(checkpoint: &Checkpoint, packed: &[Tensor; 2]) -> (Tensor, ParamStore) {
        let mut params = checkpoint.averaged_params();
        let networks = Networks::load(&mut params, &checkpoint.progress.model, Device::Cpu).unwrap();
        let q = quality_tensor(&[20], Device::Cpu).unwrap();
        let map = networks.postfilter.unwrap().map(&packed[0], (Some(&packed[1]), None), &q, &whole()).unwrap();
        (map, params)
    }

    #[test]
    fn a_larger_filter_starts_as_the_old_one_and_learns_with_all_it_has() {
        let _generator = crate::testing::seeded(21);
        let packed = [0, 1].map(|_| Tensor::rand([1, 96, 8, 8], (Kind::Float, Device::Cpu)) - 0.5);
        let mut checkpoint = start();
        let (before, _) = map(&checkpoint, &packed);
        let others = |c: &Checkpoint| c.tensors.keys().filter(|key| !key.contains("/postfilter.")).count();
        let others_before = others(&checkpoint);
        checkpoint.widen_postfilter(24, Some(3)).unwrap();
        let config = checkpoint.progress.model.postfilter.clone().unwrap();
        assert_eq!(config, PostfilterConfig { width: 24, blocks: 3, recurrent: true });
        assert_eq!(others(&checkpoint), others_before);
        let (after, _) = map(&checkpoint, &packed);
        assert!((&after - &before).abs().max().double_value(&[]) < 1e-4);

        // The first step reaches what reads the new channels, the next ones all that makes them.
        for step in 0..3 {
            let (map, params) = map(&checkpoint, &packed);
            map.square().sum(Kind::Float).backward();
            for (name, tensor, _) in params.taken().filter(|(name, ..)| name.starts_with("postfilter.")) {
                let gradient = tensor.grad();
                let rows = gradient.size()[0];
                if step == 2 && rows > 8 {
                    let new = gradient.narrow(0, 8, rows - 8).reshape([rows - 8, -1]);
                    let least = new.abs().amax([1i64].as_slice(), false).min().double_value(&[]);
                    assert!(least > 0.0, "{name}: a new row does not learn");
                }
                let moved = tch::no_grad(|| tensor - gradient.sign() * 1e-3);
                checkpoint.tensors.insert(format!("param/{name}"), moved.detach());
            }
        }
    }

    #[test]
    fn a_filter_does_not_shrink_and_has_limits() {
        let _generator = crate::testing::seeded(22);
        let mut checkpoint = start();
        let mut refused = |width, blocks| format!("{:#}", checkpoint.widen_postfilter(width, blocks).unwrap_err());
        assert!(refused(4, None).contains("2 blocks of width 8"));
        assert!(refused(16, Some(1)).contains("can only grow"));
        assert!(refused(1 << 14, None).contains("1024 channels"));
        checkpoint.progress.model.postfilter = None;
        let error = checkpoint.widen_postfilter(16, None).unwrap_err().to_string();
        assert!(error.contains("start.fresh-postfilter"), "{error}");
    }
}
