//! Processes that train together: one by itself, or as many as MPI started.
//!
//! Every rank holds all parameters and takes the same steps; gradients and what steps report are summed over all of them.
//! Rank 0 alone writes.

use anyhow::Result;
use tch::Tensor;

/// The processes of a run.
pub struct Group {
    #[cfg(feature = "mpi")]
    world: Option<mpi_world::World>,
}

impl Group {
    /// Joins the processes that `mpirun` has started; without it (or without the cargo feature `mpi`) a process trains alone.
    pub fn join() -> Self {
        Self {
            #[cfg(feature = "mpi")]
            world: mpi_world::World::join(),
        }
    }

    /// Number of this process.
    pub fn rank(&self) -> usize {
        #[cfg(feature = "mpi")]
        if let Some(world) = &self.world {
            return world.rank();
        }
        0
    }

    /// Number of processes.
    pub fn size(&self) -> usize {
        #[cfg(feature = "mpi")]
        if let Some(world) = &self.world {
            return world.size();
        }
        1
    }

    /// Whether this process writes logs and checkpoints.
    pub fn is_root(&self) -> bool {
        self.rank() == 0
    }

    /// Rank 0's value, on every rank.
    pub fn root_value(&self, value: f64) -> f64 {
        let mut values = [if self.is_root() { value } else { 0.0 }];
        self.sum(&mut values);
        values[0]
    }

    /// Replaces values by their sums over all ranks.
    pub fn sum(&self, values: &mut [f64]) {
        #[cfg(feature = "mpi")]
        if let Some(world) = &self.world {
            world.sum(values);
        }
        #[cfg(not(feature = "mpi"))]
        let _ = values;
    }

    /// Everyone's values, in the order of the ranks; all give equally many.
    pub fn gather(&self, values: &[f64]) -> Vec<f64> {
        #[cfg(feature = "mpi")]
        if let Some(world) = &self.world {
            return world.gather(values);
        }
        values.to_vec()
    }

    /// The sum of a flat gradient over all ranks.
    pub fn sum_gradient(&self, gradient: Tensor) -> Result<Tensor> {
        #[cfg(feature = "mpi")]
        if let Some(world) = self.world.as_ref().filter(|world| world.size() > 1) {
            use codec_core::training::nn::transfer::{download, upload};
            let mut values = download::<f32>(&gradient)?;
            world.sum(&mut values);
            return Ok(upload(&Tensor::f_from_slice(&values)?, gradient.device())?);
        }
        Ok(gradient)
    }

    /// Ends all processes, since those that wait for this one would wait for ever.
    pub fn abort(&self) {
        #[cfg(feature = "mpi")]
        if let Some(world) = self.world.as_ref().filter(|world| world.size() > 1) {
            world.abort();
        }
    }
}

#[cfg(feature = "mpi")]
mod mpi_world {
    use mpi::collective::{CommunicatorCollectives, SystemOperation};
    use mpi::environment::Universe;
    use mpi::topology::{Communicator, SimpleCommunicator};
    use mpi::traits::Equivalence;

    /// Set by `mpirun` in every process that it starts.
    const LAUNCHED: &str = "OMPI_COMM_WORLD_SIZE";

    pub struct World {
        world: SimpleCommunicator,
        /// Ends MPI when it is dropped, so it comes last.
        _universe: Universe,
    }

    impl World {
        pub fn join() -> Option<Self> {
            std::env::var_os(LAUNCHED)?;
            let universe = mpi::initialize()?;
            Some(Self { world: universe.world(), _universe: universe })
        }

        pub fn rank(&self) -> usize {
            self.world.rank() as usize
        }

        pub fn size(&self) -> usize {
            self.world.size() as usize
        }

        pub fn sum<T: Equivalence + Clone>(&self, values: &mut [T])
        where
            [T]: mpi::traits::Buffer + mpi::traits::BufferMut,
        {
            let own = values.to_vec();
            self.world.all_reduce_into(&own[..], values, SystemOperation::sum());
        }

        pub fn gather(&self, values: &[f64]) -> Vec<f64> {
            let mut all = vec![0.0; values.len() * self.size()];
            self.world.all_gather_into(values, &mut all[..]);
            all
        }

        pub fn abort(&self) {
            self.world.abort(1);
        }
    }
}
